namespace CriuPmem.SystemTests.Failures;

/// <summary>Refusals name the kind of thing that is in the way, and what to do about it.</summary>
public sealed class MessageTests
{
    private const string Live = "import os, sys, time, ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n";

    [Theory]
    [InlineData("fd = libc.syscall(447, 0)\nassert fd >= 0 or sys.exit(77)\nimport mmap\nos.ftruncate(fd, 4096)\nm = mmap.mmap(fd, 4096)", "CP1201", "memfd_secret")]
    [InlineData("rt = ctypes.CDLL('librt.so.1')\nfd = rt.mq_open(b'/criu-pmem-test', 0o102, 0o600, None)\nassert fd >= 0 or sys.exit(77)\nrt.mq_unlink(b'/criu-pmem-test')", "CP1200", "POSIX message queue")]
    [InlineData("p = os.fork()\nif p == 0: time.sleep(0.2); os._exit(0)\nf = open(f'/proc/{p}/status')\nos.waitpid(p, 0)", "CP1200", "has ended")]
    [InlineData("fd = libc.syscall(428, -100, b'/tmp', 1)\nassert fd >= 0 or sys.exit(77)", "CP1200", "taken out of the tree of mounts")]
    [InlineData("assert libc.unshare(0x20000000) == 0 or sys.exit(77)", "CP1209", "pid namespace")]
    [InlineData("assert libc.unshare(0x80) == 0 or sys.exit(77)", "CP1209", "time namespace")]
    [InlineData("assert libc.prctl(65, 1, 0, 0, 0) == 0 or sys.exit(77)", "CP1000", "PR_SET_MDWE")]
    [InlineData("import resource\nn = int(open('/proc/self/statm').read().split()[0]) * 4096\nresource.setrlimit(resource.RLIMIT_AS, (n, n))", "CP1000", "prlimit --as")]
    public void Dump_WhatCannotBeSaved_IsNamed(string state, string code, string words)
    {
        using var live = new PythonProgram(Live + state);
        string images = live.NewImages("images");
        EngineRun.DumpRefuses(live, images, code, words, "python3");
        live.Stop();
    }

    [Fact]
    public void ActionScript_ThatIsNotThere_IsSaid()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string line = EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", live.NewImages("images"), "--action-script", "/nowhere/x.sh"], "CP1005", "/nowhere/x.sh", "cannot be executed", "No such file", "Look at its path");
        Assert.DoesNotContain("said no", line, StringComparison.Ordinal);
        live.Check("after a script that is not there");
        live.Stop();
    }

    [Theory]
    [InlineData("zstd", "--compress=zstd")]
    [InlineData("lz4:9", "-c=lz4:9")]
    [InlineData("4", "-v4")]
    public void ValueWithoutItsOption_IsHelped(string word, string help) => EngineRun.Refuses(["dump", "-t", "4194303", "-c", word], "CP1006", help);

    /// <summary>What does not work is no way out of an abbreviation that could be several.</summary>
    [Fact]
    public void AmbiguousOption_OffersWhatWorks()
    {
        string line = EngineRun.Refuses(["dump", "-t", "4194303", "--tcp"], "CP1006", "--tcp-close", "several options");
        Assert.DoesNotContain("--tcp-established", line, StringComparison.Ordinal);
    }

    [Fact]
    public void Restore_UnderATracer_SaysSo()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string images = live.NewImages("images");
        List<int> before = live.LastingProcesses();
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
        if (!File.Exists("/usr/bin/strace")) Assert.Skip("not here: strace is not installed");
        Command traced = Command.Run("/usr/bin/strace", ["-f", "-o", "/dev/null", Engine.Ours.Program, "restore", "-d", "-D", images], Engine.Limit);
        Assert.Equal(1, traced.ExitCode);
        Assert.Contains("[CP1405]", traced.Output, StringComparison.Ordinal);
        Assert.Contains("strace -f", traced.Output, StringComparison.Ordinal);
        live.ExpectGone("after a restore under a tracer");
        live.Restore(Engine.Ours, images);
        live.Check("without one");
        live.Stop();
    }

    [Fact]
    public void Dump_TreeWithTheEngine_IsRefused()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string images = live.NewImages("images");
        Command command = Command.Run("/bin/sh", ["-c", $"{Engine.Ours.Program} dump -D {images} -t $$; exit $?"], Engine.Limit);
        Assert.Equal(1, command.ExitCode);
        Assert.Contains("criu-pmem itself", command.Output, StringComparison.Ordinal);
        live.Stop();
    }

    [Fact]
    public void Name_WithControlCharacters_IsWrittenOut()
    {
        using var live = new PythonProgram(Live + "libc.prctl(15, b'a\\n\\x1b[31mb', 0, 0, 0)\nassert libc.unshare(0x80) == 0 or sys.exit(77)");
        Command command = EngineRun.Run("dump", "-t", $"{live.Pid}", "-D", live.NewImages("images"));
        Assert.Equal(1, command.ExitCode);
        Assert.Contains(@"a\n\x1b[31mb", Assert.Single(command.Output.Trim().Split('\n')), StringComparison.Ordinal);
        live.Stop();
    }

    [Fact]
    public void Dump_FewDescriptorsForTheEngine_Succeeds()
    {
        using var live = new LiveWorkload(Workload.Named("fd_many"));
        string images = live.NewImages("images");
        Command command = Command.Run("/bin/sh", ["-c", $"ulimit -S -n 20; exec {Engine.Ours.Program} dump -D {images} -t {live.Pid}"], Engine.Limit);
        Assert.True(command.ExitCode == 0, command.Output);
        live.Restore(Engine.Ours, images);
        live.Check("dumped under a low limit");
        live.Stop();
    }

    [Fact]
    public void ActionScript_ThatFails_IsToldOnce()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string script = EngineRun.Script(live, "pre-dump", "exit 3");
        Command command = EngineRun.Run("dump", "-t", $"{live.Pid}", "-D", live.NewImages("images"), "--action-script", script);
        Assert.Contains("exited with 3", Assert.Single(command.Output.Trim().Split('\n')), StringComparison.Ordinal);
        live.Stop();
    }

    [Fact]
    public void Restore_PidFileInAMissingDirectory_SaysSo()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images);
        EngineRun.Refuses(["restore", "-d", "-D", images, "--pidfile", "nowhere/pid"], "CP1000", "nowhere/pid", "directory is missing");
        live.Restore(Engine.Ours, images);
        live.Check("restored");
        live.Stop();
    }

    /// <summary>A Python program in one state, which lives on until it is told to stop.</summary>
    private sealed class PythonProgram : LiveTree
    {
        public PythonProgram(string code) : base("python", [])
        {
            Pid = StartDaemon(["/usr/bin/python3", "-c", code + $"\nopen('{Home}/ready', 'w').close()\nwhile not os.path.exists('{Home}/stop'): time.sleep(0.01)\n"]);
            WaitFor("its state", () =>
            {
                if (!ProcessTable.Exists(Pid) || Output().Length > 0) Assert.Skip($"not here: {Output()}");
                return File.Exists(Path.Combine(Home, "ready")) ? "ready" : null;
            });
        }

        public override void Check(string when) => Assert.True(ProcessTable.Exists(Pid), $"it is gone {when}");

        protected override void RequestStop() => File.WriteAllText(Path.Combine(Home, "stop"), "");
    }
}
