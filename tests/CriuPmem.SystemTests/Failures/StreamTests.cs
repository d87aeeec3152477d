namespace CriuPmem.SystemTests.Failures;

/// <summary>Snapshots as a stream: dump to a pipe, restore from one; and whatever can happen to it on its way.</summary>
public sealed class StreamTests
{
    [Theory]
    [InlineData("tree_shapes", "", "")]
    [InlineData("mem_anon", "--compress", "--lazy")]
    [InlineData("fd_deleted", "", "")]
    [InlineData("mem_memfd", "--compress=zstd", "")]
    public void ThroughAFile(string workload, string dumping, string restoring)
    {
        using var live = new LiveWorkload(Workload.Named(workload));
        string stream = Dumped(live, dumping);
        Assert.Empty(Directory.GetFiles(live.Home, "*.img"));
        Assert.Equal(0, Restore(live, $"cat '{stream}'", restoring).ExitCode);
        live.Check("after a restore from a stream");
        if (restoring == "--lazy")
            LazyPager.WaitDone(live.Home);
        live.Stop();
    }

    [Fact]
    public void ThroughAPipe_OnTheSameMachine()
    {
        using var live = new LiveWorkload(Workload.Named("threads_basic"));
        List<int> before = live.LastingProcesses();
        for (int round = 1; round <= 3; round++)
        {
            Command both = Restore(live, Dumping(live, ""), "");
            Assert.True(both.ExitCode == 0, both.Output);
            Assert.Equal(before, live.LastingProcesses());
            live.Check($"after round {round}");
        }

        live.Stop();
    }

    [Fact]
    public void LeaveRunning_AndScriptsThatPrint()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string stream = Path.Combine(live.Home, "stream"), script = EngineRun.Script(live, "post-dump", "echo this is no part of the stream");
        Command dump = Shell($"{Dumping(live, $"-R --action-script '{script}'")} >'{stream}'");
        Assert.True(dump.ExitCode == 0, dump.Output);
        live.Check("after a dump that leaves it running");
        List<int> tree = live.Processes();
        ProcessTable.Kill(() => tree);
        Assert.Equal(0, Restore(live, $"cat '{stream}'", "").ExitCode);
        // It was saved before it was asked anything else: it answers the round that came next.
        live.Check("after a restore of what was saved");
    }

    /// <summary>Whoever reads goes away: the tree runs on, whenever that is.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1000)]
    [InlineData(300_000)]
    public void ReaderGoesAway_TheTreeRunsOn(int after)
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        List<int> before = live.LastingProcesses();
        Command dump = Shell($"{{ {Dumping(live, "")} || echo failed >&2; }} | head -c {after} >/dev/null");
        Assert.Contains("failed", dump.Output, StringComparison.Ordinal);
        Assert.Contains("[CP1306]", dump.Output, StringComparison.Ordinal);
        Assert.Equal(before, live.LastingProcesses());
        live.Check("after its reader went away");
        live.Stop();
    }

    /// <summary>The action script behind the stream says no: who has read so far has no snapshot.</summary>
    [Fact]
    public void RefusedAtTheEnd_IsNoSnapshot()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string stream = Path.Combine(live.Home, "stream"), script = EngineRun.Script(live, "post-dump", "exit 1");
        Assert.NotEqual(0, Shell($"{Dumping(live, $"--action-script '{script}'")} >'{stream}'").ExitCode);
        live.Check("after a dump that was refused");
        Fails(live, $"cat '{stream}'", "CP1306");
        live.Stop();
    }

    [Fact]
    public void Cut_RestoresNothing() => Seed.Run(random =>
    {
        using var live = new LiveWorkload(Workload.Named("threads_basic"));
        string stream = Dumped(live, "");
        long length = new FileInfo(stream).Length;
        var keeps = new List<long> { 0, 15, 16, 20, length - 1, length - 8, length - 24, length - 25 };
        for (int i = 0; i < (Machine.Quick ? 5 : 50); i++)
            keeps.Add(random.NextInt64(length));
        foreach (long keep in keeps)
            Fails(live, $"head -c {keep} '{stream}'", "CP1306");
        Fails(live, $"cat '{stream}' /etc/passwd", "CP1302");
        Assert.Equal(0, Restore(live, $"cat '{stream}'", "").ExitCode);
        live.Check("after all the cut ones");
        live.Stop();
    });

    [Fact]
    public void FlippedBit_RestoresNothing() => Seed.Run(random =>
    {
        using var live = new LiveWorkload(Workload.Named("fd_regular"));
        string stream = Dumped(live, ""), damaged = Path.Combine(live.Home, "damaged");
        byte[] bytes = File.ReadAllBytes(stream);
        for (int i = 0; i < (Machine.Quick ? 10 : 100); i++)
        {
            int at = i < 3 ? random.Next(48) : random.Next(bytes.Length);
            byte bit = (byte)(1 << random.Next(8));
            bytes[at] ^= bit;
            File.WriteAllBytes(damaged, bytes);
            bytes[at] ^= bit;
            Fails(live, $"cat '{damaged}'", "CP13");
        }

        Assert.Equal(0, Restore(live, $"cat '{stream}'", "").ExitCode);
        live.Check("after all the damaged ones");
        live.Stop();
    });

    [Fact]
    public void Chain_IsRefused()
    {
        EngineRun.Refuses(["pre-dump", "-t", "4194303", "--stream"], "CP1006", "chain");
        EngineRun.Refuses(["dump", "-t", "4194303", "--stream", "--prev-images-dir", "../x"], "CP1006", "chain");
    }

    private static string Dumped(LiveWorkload live, string options)
    {
        string stream = Path.Combine(live.Home, "stream");
        List<int> tree = live.Processes();
        Command dump = Shell($"{Dumping(live, options)} >'{stream}'");
        Assert.True(dump.ExitCode == 0, dump.Output);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump --stream");
        return stream;
    }

    private static string Dumping(LiveWorkload live, string options) =>
        $"'{Engine.Ours.Program}' dump -t {live.Pid} --stream -W '{live.Home}' {string.Join(' ', live.Options)} {options}";

    private static Command Restore(LiveWorkload live, string source, string options) =>
        Shell($"{source} | '{Engine.Ours.Program}' restore -d --stream -W '{live.Home}' -v4 -o restore.log {string.Join(' ', live.Options)} {options}");

    private static void Fails(LiveWorkload live, string source, string code)
    {
        List<int> before = live.Processes();
        Command restore = Restore(live, source, "");
        Assert.True(restore.ExitCode == 1 && restore.Output.Contains($"[{code}", StringComparison.Ordinal), $"{source}: exit code {restore.ExitCode}: {restore.Output}");
        Assert.Equal(before, live.Processes());
    }

    private static Command Shell(string line)
    {
        Command command = Command.Run("/bin/sh", ["-c", line], Engine.Limit);
        Assert.False(command.TimedOut, $"{line} hangs");
        return command;
    }
}
