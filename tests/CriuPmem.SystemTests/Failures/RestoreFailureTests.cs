namespace CriuPmem.SystemTests.Failures;

/// <summary>Restores that cannot succeed say why and leave nothing behind; what can be mended is restored afterwards.</summary>
public sealed class RestoreFailureTests
{
    [Fact]
    public void PidInUse()
    {
        using var live = new LiveWorkload(Workload.Named("threads_basic"));
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images, "-R");
        EngineRun.Refuses(["restore", "-d", "-D", images], "CP1400", live.Pid.ToString(), "threads_basic");
        live.Check("after a restore that found its pid in use");
        live.Stop();
        File.Delete(Path.Combine(live.Home, "stop")); // or it might end before it is asked
        live.Restore(Engine.Ours, images);
        live.Check("after a restore once its pid was free");
        live.Dispose();
    }

    [Fact]
    public void ImagesDirectory_Missing() =>
        EngineRun.Refuses(["restore", "-D", "/nothing-here"], "CP1300", "/nothing-here");

    [Fact]
    public void ImagesDirectory_Empty()
    {
        string images = Directory.CreateTempSubdirectory("criu-pmem-images.").FullName;
        EngineRun.Refuses(["restore", "-D", images], "CP1301", "inventory.img");
        Machine.Delete(images);
    }

    [Fact]
    public void File_Gone()
    {
        using LiveWorkload live = Dumped("fd_regular", out string images, out string file);
        File.Move(file, file + ".away");
        EngineRun.Refuses(["restore", "-d", "-D", images], "CP1401", file);
        live.ExpectGone("after a restore without its file");
        File.Move(file + ".away", file);
        Again(live, images);
    }

    [Fact]
    public void File_Changed()
    {
        using LiveWorkload live = Dumped("fd_regular", out string images, out string file);
        byte[] content = File.ReadAllBytes(file);
        File.AppendAllText(file, "one line more");
        EngineRun.Refuses(["restore", "-d", "-D", images], "CP1402", file, $"truncate -s {content.Length}");
        live.ExpectGone("after a restore with another file");
        File.WriteAllBytes(file, content);
        Again(live, images);
    }

    [Fact]
    public void Binary_Replaced()
    {
        string program = Path.Combine(Machine.Scratch, "replaced-binary");
        File.Copy(Path.Combine(Machine.Workloads, "threads_basic"), program, overwrite: true);
        using var live = new LiveWorkload("replaced-binary", [], [program]);
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone([live.Pid], TimeSpan.FromSeconds(10), "dump");
        File.Move(program, program + ".away");
        File.Copy(Path.Combine(Machine.Workloads, "tree_shapes"), program);
        EngineRun.Refuses(["restore", "-d", "-D", images], "CP1402", program);
        live.ExpectGone("after a restore with another program");
        File.Move(program + ".away", program, overwrite: true);
        Again(live, images);
    }

    [Fact]
    public void PidFile_Exists()
    {
        using LiveWorkload live = Dumped("fd_regular", out string images, out _);
        string pidFile = Path.Combine(live.Home, "pid");
        File.WriteAllText(pidFile, "mine");
        EngineRun.Refuses(["restore", "-d", "-D", images, "--pidfile", pidFile], "CP1403", pidFile);
        Assert.Equal("mine", File.ReadAllText(pidFile));
        live.ExpectGone("after a restore without a pid file");
        File.Delete(pidFile);
        Command restored = EngineRun.Run("restore", "-d", "-D", images, "--pidfile", pidFile);
        Assert.True(restored.ExitCode == 0, restored.Output);
        Assert.Equal(live.Pid, int.Parse(File.ReadAllText(pidFile)));
        live.Check("after the restore");
        live.Stop();
    }

    [Fact]
    public void Refused_ByActionScript()
    {
        using LiveWorkload live = Dumped("threads_basic", out string images, out _);
        string script = Path.Combine(live.Home, "script.sh");
        File.WriteAllText(script, "#!/bin/sh\n[ \"$CRTOOLS_SCRIPT_ACTION\" != post-restore ]\n");
        File.SetUnixFileMode(script, (UnixFileMode)0x1ED);
        EngineRun.Refuses(["restore", "-d", "-D", images, "--action-script", script], "CP1005", "post-restore", "script.sh");
        live.ExpectGone("after an action script said no");
        Again(live, images);
    }

    [Fact]
    public void Resume_ActionScriptFails_ChangesNothing()
    {
        using LiveWorkload live = Dumped("threads_basic", out string images, out _);
        string script = Path.Combine(live.Home, "script.sh"), told = Path.Combine(live.Home, "told");
        string pidFile = Path.Combine(live.Home, "pid");
        File.WriteAllText(script, $"""
            #!/bin/sh
            echo "$CRTOOLS_SCRIPT_ACTION $CRTOOLS_INIT_PID $(cat {pidFile} 2>/dev/null)" >>{told}
            case $CRTOOLS_SCRIPT_ACTION in *-resume) exit 3 ;; esac
            """);
        File.SetUnixFileMode(script, (UnixFileMode)0x1ED);
        Command restored = EngineRun.Run("restore", "-d", "-D", images, "--action-script", script, "--pidfile", pidFile);
        Assert.True(restored.ExitCode == 0, restored.Output);
        string both = $"{live.Pid} {live.Pid}";
        Assert.Equal(["pre-restore  ", $"post-restore {both}", $"pre-resume {both}", $"post-resume {both}"], File.ReadAllLines(told));
        live.Check("after action scripts that failed too late to matter");
        live.Stop();
    }

    /// <summary>What a script kills before it could run is not told as restored, by whichever script and whoever else of the tree it is.</summary>
    [Theory]
    [InlineData("post-restore", "$CRTOOLS_INIT_PID")]
    [InlineData("pre-resume", "$CRTOOLS_INIT_PID")]
    [InlineData("pre-resume", "$(pgrep -P $CRTOOLS_INIT_PID | head -n 1)")]
    public void KilledByActionScript_IsTold(string stage, string whom)
    {
        using LiveWorkload live = Dumped("tree_shapes", out string images, out _);
        string script = EngineRun.Script(live, stage, $"kill -9 {whom}");
        EngineRun.Refuses(["restore", "-d", "-D", images, "--action-script", script], "CP1405", "killed before it could run", stage);
        live.ExpectGone("after a script killed one of it");
        Again(live, images);
    }

    /// <summary>Without -d it waits for the root process, and its own exit code tells of the restore alone.</summary>
    [Fact]
    public async Task Attached_WaitsForTheEnd_ExitsWithZero()
    {
        using LiveWorkload live = Dumped("mem_brk", out string images, out _);
        Task<Command> restore = Task.Run(() => EngineRun.Run("restore", "-D", images));
        live.Check("while restore waits for it");
        Assert.False(restore.IsCompleted, "restore without -d did not wait");
        ProcessTable.KillMarked(live.Home);
        Assert.Equal(0, (await restore).ExitCode);
        live.ExpectGone("after it was killed");
    }

    private static LiveWorkload Dumped(string workload, out string images, out string openFile)
    {
        var live = new LiveWorkload(Workload.Named(workload));
        live.Check("before the dump");
        openFile = Directory.EnumerateFileSystemEntries($"/proc/{live.Pid}/fd")
            .Select(fd => new FileInfo(fd).LinkTarget ?? "")
            .FirstOrDefault(target => target.StartsWith(live.Home + "/", StringComparison.Ordinal)
                && new FileInfo(target) is { Exists: true, Length: > 0 }, "");
        images = live.NewImages("images");
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone([live.Pid], TimeSpan.FromSeconds(10), "dump");
        return live;
    }

    private static void Again(LiveWorkload live, string images)
    {
        live.Restore(Engine.Ours, images);
        live.Check("after a restore with everything in place again");
        live.Stop();
    }
}
