using System.Diagnostics;

namespace CriuPmem.SystemTests.Failures;

/// <summary>Dumps that cannot succeed say why, and leave everything as it was.</summary>
public sealed class DumpFailureTests
{
    [Fact]
    public void NoSuchProcess()
    {
        string images = Directory.CreateTempSubdirectory("criu-pmem-images.").FullName;
        EngineRun.Refuses(["dump", "-t", "4194303", "-D", images], "CP1100", "4194303");
        Assert.Empty(Directory.GetFileSystemEntries(images, "*.img"));
        Machine.Delete(images);
    }

    [Fact]
    public void KernelThread()
    {
        string images = Directory.CreateTempSubdirectory("criu-pmem-images.").FullName;
        if (ProcessTable.Describe(2).Contains("kthreadd", StringComparison.Ordinal) is false)
            Assert.Skip("not here: pid 2 is no kernel thread (this is a container)");
        EngineRun.Refuses(["dump", "-t", "2", "-D", images], "CP1101", "kthreadd");
        Machine.Delete(images);
    }

    [Fact]
    public void NotRoot()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string images = live.NewImages("images");
        File.SetUnixFileMode(images, (UnixFileMode)0x1FF);
        string program = Path.Combine("/tmp", $"criu-pmem-as-nobody.{Environment.ProcessId}");
        File.Copy(Engine.Ours.Program, program, overwrite: true); // the repository may be out of reach for nobody
        Command command = Command.Run("setpriv",
        [
            "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", program, "dump", "-t",
            live.Pid.ToString(), "-D", images,
        ], Engine.Limit);
        File.Delete(program);
        Assert.Equal(1, command.ExitCode);
        Assert.Contains("[CP1002]", command.Output, StringComparison.Ordinal);
        Assert.Contains("root", command.Output, StringComparison.Ordinal);
        live.Check("after a dump by nobody");
        live.Stop();
    }

    [Theory]
    [InlineData("0", "descriptor table")]
    [InlineData("1", "working directory")]
    public void ThreadApartFromItsProcess(string kind, string what)
    {
        using var live = new LiveWorkload(new Workload("refused_unshared", kind));
        EngineRun.DumpRefuses(live, live.NewImages("images"), "CP1202", what, "thread");
        live.Stop();
    }

    [Fact]
    public void ImagesDirectory_Missing()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        EngineRun.DumpRefuses(live, Path.Combine(live.Home, "nothing-here"), "CP1300", "nothing-here", "mkdir");
        live.Stop();
    }

    [Fact]
    public void ImagesDirectory_ReadOnly()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        using var mount = new TestMount(live.NewImages("images"), "ro");
        EngineRun.DumpRefuses(live, mount.Path, "CP1300", mount.Path, "Read-only");
        live.Stop();
    }

    [Theory]
    [InlineData("16k")]
    [InlineData("64k")]
    [InlineData("256k")]
    [InlineData("512k")]
    public void ImagesDirectory_FullInTheMiddle(string size)
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        using var mount = new TestMount(live.NewImages("images"), $"size={size}");
        EngineRun.DumpRefuses(live, mount.Path, "CP1304", "space");
        Assert.Empty(Directory.GetFileSystemEntries(mount.Path, "*.img"));
        live.Stop();
    }

    /// <summary>What comes while the tree stands still comes when it goes on (here in place of a failure: none is seen).</summary>
    [Fact]
    public void SignalWhileFrozen_Arrives()
    {
        using var live = new LiveWorkload(Workload.Named("sig_while_frozen"));
        string script = Path.Combine(live.Home, "script.sh");
        File.WriteAllText(script, $"#!/bin/sh\n[ \"$CRTOOLS_SCRIPT_ACTION\" != post-dump ] || {{ kill -USR1 {live.Pid}; echo >> {live.Home}/sent; }}\n");
        File.SetUnixFileMode(script, (UnixFileMode)0x1ED);
        for (int round = 1; round <= 3; round++)
        {
            live.Dump(Engine.Ours, live.NewImages($"images.{round}"), "-R", "--action-script", script);
            live.Check($"after signal {round}, sent while it stood still");
        }

        live.Stop();
    }

    /// <summary>No mask holds SIGSTOP back: it comes while remote calls run. It, too, takes effect when the tree goes on, of a dump that failed as well.</summary>
    [Theory]
    [InlineData("exit 0", "T")]
    [InlineData("exit 1", "T")]
    [InlineData("kill -CONT $CRTOOLS_INIT_PID", "S")]
    public void StopWhileFrozen_Arrives(string then, string state)
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string script = EngineRun.Script(live, "post-dump", $"kill -STOP $CRTOOLS_INIT_PID; {then}");
        EngineRun.Run("dump", "-R", "-t", $"{live.Pid}", "-D", live.NewImages("images"), "--action-script", script);
        Thread.Sleep(50);
        Assert.Contains($"State: {state} ", ProcessTable.Describe(live.Pid), StringComparison.Ordinal);
        Command.Run("/bin/kill", ["-CONT", $"{live.Pid}"], Engine.Limit);
        live.Check("after it was stopped while it stood still");
        live.Stop();
    }

    [Fact]
    public void TracedByAnother()
    {
        using var live = new LiveWorkload(Workload.Named("threads_basic"));
        const string seize = """
            import ctypes, sys, time
            libc = ctypes.CDLL(None, use_errno=True)
            PTRACE_SEIZE = 0x4206
            print(libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None), flush=True)
            time.sleep(60)
            """;
        var start = new ProcessStartInfo("/usr/bin/python3") { RedirectStandardOutput = true };
        foreach (string argument in (string[])["-c", seize, live.Pid.ToString()])
            start.ArgumentList.Add(argument);
        using Process tracer = Process.Start(start)!;
        Assert.Equal("0", tracer.StandardOutput.ReadLine());
        try
        {
            EngineRun.DumpRefuses(live, live.NewImages("images"), "CP1102", tracer.Id.ToString());
        }
        finally
        {
            tracer.Kill();
            tracer.WaitForExit();
        }

        live.Check("after its tracer has gone");
        Rounds.Run(live, Direction.Named("ours"), 1);
    }

    /// <summary>A vfork that cannot be ended early: nothing of the attempt stays in the memory of parent and child.</summary>
    [Theory]
    [InlineData("1", "cleared at its end")]
    [InlineData("2", "children of its own")]
    public void Vfork_ChildThatCannotMove(string kind, string why)
    {
        using var live = new LiveWorkload(new Workload("tree_vfork", kind));
        string before = File.ReadAllText($"/proc/{live.Pid}/maps");
        string images = live.NewImages("images");
        EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", images], "CP1103", "vfork", why);
        Assert.Equal(before, File.ReadAllText($"/proc/{live.Pid}/maps"));
        live.Check("after a dump that was refused");
        EngineRun.DumpRefuses(live, images, "CP1103", "vfork", why);
        live.Stop();
    }

    [Theory]
    [InlineData("threads_basic")]
    [InlineData("tree_vfork_exec")] // what was changed for the dump must not be seen when it fails
    public void Refused_ByActionScript(string workload)
    {
        using var live = new LiveWorkload(Workload.Named(workload));
        string script = Path.Combine(live.Home, "script.sh");
        File.WriteAllText(script, "#!/bin/sh\n[ \"$CRTOOLS_SCRIPT_ACTION\" != post-dump ]\n");
        File.SetUnixFileMode(script, (UnixFileMode)0x1ED);
        string images = live.NewImages("images");
        EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", images, "--action-script", script], "CP1005", "post-dump", "script.sh");
        live.Check("after an action script said no");
        live.Stop();
    }
}
