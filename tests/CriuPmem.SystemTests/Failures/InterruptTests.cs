using System.Diagnostics;

namespace CriuPmem.SystemTests.Failures;

/// <summary>SIGINT, SIGTERM, SIGHUP and SIGQUIT end an operation as any failure does: everything is undone, and one line says so.</summary>
public sealed class InterruptTests
{
    [Theory]
    [InlineData("HUP", 129)]
    [InlineData("INT", 130)]
    [InlineData("QUIT", 131)]
    [InlineData("TERM", 143)]
    public void Dump_Signal_IsUndone(string signal, int exit)
    {
        using var live = new LiveWorkload(Workload.Named("threads_basic"));
        string images = live.NewImages("images");
        string script = EngineRun.Script(live, "post-dump", $"kill -{signal} $PPID");
        Command command = EngineRun.Run("dump", "-t", $"{live.Pid}", "-D", images, "--action-script", script);
        Expect(command, signal, exit);
        Assert.Empty(Directory.GetFiles(images, "*.img"));
        live.Check($"after a dump that SIG{signal} ended");
        Rounds.Run(live, Direction.Named("ours"), 1);
    }

    [Theory]
    [InlineData("pre-restore")]
    [InlineData("post-restore")]
    public void Restore_Signal_LeavesNothing(string stage)
    {
        using var live = new LiveWorkload(Workload.Named("tree_shapes"));
        string images = live.NewImages("images");
        List<int> tree = live.Processes();
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        string script = EngineRun.Script(live, stage, "kill -TERM $PPID");
        Expect(EngineRun.Run("restore", "-d", "-D", images, "--action-script", script), "TERM", 143);
        live.ExpectGone("after a restore that was ended");
        live.Restore(Engine.Ours, images);
        live.Check("after the second restore");
        live.Stop();
    }

    [Fact]
    public void Signal_AtAnyMoment_IsUndoneOrTooLate() => Seed.Run(random =>
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        TimeSpan dump = EngineRun.Time(() => live.Dump(Engine.Ours, live.NewImages("images"), "-R"));
        int inTime = 0, rounds = Machine.Quick ? 6 : 40;
        for (int i = 1; i <= rounds; i++)
        {
            string images = live.NewImages($"images.{i}");
            // The runtime takes some milliseconds to start; before that the signal has its default effect.
            int? exit = EngineRun.Signal("TERM", dump * random.NextDouble(), "dump", "-R", "-t", $"{live.Pid}", "-D", images);
            Assert.True(exit is 0 or 143, $"exits with {exit}");
            if (exit == 143) inTime++;
            Assert.Equal(exit == 0, File.Exists(Path.Combine(images, "inventory.img")));
            live.Check($"after SIGTERM, exit code {exit}");

            List<int> tree = live.Processes();
            live.Dump(Engine.Ours, images);
            ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
            exit = EngineRun.Signal("INT", dump * random.NextDouble(), "restore", "-d", "-D", images);
            Assert.True(exit is 0 or 130, $"exits with {exit}");
            if (exit == 130)
            {
                inTime++;
                ProcessTable.WaitGone(live.Processes(), TimeSpan.FromSeconds(3), "a restore that SIGINT ended");
                live.Restore(Engine.Ours, images);
            }

            live.Check($"after a restore with SIGINT, exit code {exit}");
            Machine.Delete(images);
        }

        Assert.True(inTime > 0, "no signal came before the end");
        live.Stop();
    });

    [Fact]
    public void RestoreInForeground_Signal_EndsTheWaitingAlone()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images);
        var start = new ProcessStartInfo(Engine.Ours.Program) { RedirectStandardInput = true, RedirectStandardError = true };
        foreach (string argument in (string[])["restore", "-D", images]) start.ArgumentList.Add(argument);
        using Process engine = Process.Start(start)!;
        live.Check("while its restorer waits for it");
        Command.Run("/bin/kill", ["-TERM", $"{engine.Id}"], Engine.Limit);
        Assert.True(engine.WaitForExit(Engine.Limit), "it waits on");
        Assert.Equal(143, engine.ExitCode);
        live.Check("after its restorer was ended");
        live.Stop();
    }

    [Fact]
    public void Dump_SignalIgnoredFromTheStart_IsIgnored()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string script = EngineRun.Script(live, "post-dump", "kill -HUP $PPID");
        Command command = Command.Run("/usr/bin/nohup",
            [Engine.Ours.Program, "dump", "-R", "-t", $"{live.Pid}", "-D", live.NewImages("images"), "--action-script", script], Engine.Limit);
        Assert.Equal(0, command.ExitCode);
        live.Stop();
    }

    /// <summary>What the limit forbids is an error, and no death by SIGXFSZ.</summary>
    [Fact]
    public void Dump_FilesMayNotGrow_SaysSo()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        Command command = Command.Run("/bin/sh", ["-c", $"ulimit -f 16; exec {Engine.Ours.Program} dump -t {live.Pid} -D {images}"], Engine.Limit);
        Assert.Equal(1, command.ExitCode);
        Assert.Contains("[CP1304]", command.Output, StringComparison.Ordinal);
        Assert.Contains("ulimit -f", command.Output, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(images, "*.img"));
        live.Check("after a dump that may not write");
        live.Stop();
    }

    private static void Expect(Command command, string signal, int exit)
    {
        Assert.Equal(exit, command.ExitCode);
        string line = Assert.Single(command.Output.Trim().Split('\n'));
        Assert.Contains($"SIG{signal}", line, StringComparison.Ordinal);
        Assert.Contains("[CP1008]", line, StringComparison.Ordinal);
    }
}
