using System.Diagnostics;

namespace CriuPmem.SystemTests.Failures;

/// <summary>What lies in an images directory, or beside it, may be somebody else's: nothing of it is written over, believed, or killed.</summary>
public sealed class TrustTests
{
    private const int Nobody = 65534;

    /// <summary>A backup by hard links keeps what it has.</summary>
    [Theory]
    [InlineData("--recycle")]
    [InlineData("--no-sync")]
    public void BackupOfHardLinks_StaysAsItWas(string option)
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images"), backup = Path.Combine(live.Home, "backup");
        live.Dump(Engine.Ours, images, "-R", option);
        Assert.Equal(0, Command.Run("/bin/cp", ["-al", images, backup], Engine.Limit).ExitCode);
        byte[] before = File.ReadAllBytes(Path.Combine(backup, "pages-1.img"));
        for (int i = 0; i < 2; i++)
        {
            live.Check($"before dump {i + 2}"); // which writes
            live.Dump(Engine.Ours, images, "-R", option);
        }

        Assert.Equal(before, File.ReadAllBytes(Path.Combine(backup, "pages-1.img")));
        live.Stop();
    }

    /// <summary>Files that another user has put there are not filled with the program's memory.</summary>
    [Fact]
    public void PlantedFile_IsReplaced()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images"), planted = Path.Combine(images, "pages-1.img");
        File.WriteAllText(planted, "");
        Assert.Equal(0, Command.Run("/bin/sh", ["-c", $"chown {Nobody} {images} {planted}; chmod 666 {planted}"], Engine.Limit).ExitCode);
        live.Dump(Engine.Ours, images, "-R");
        Assert.Equal("0 600", Command.Run("/usr/bin/stat", ["-c", "%u %a", planted], Engine.Limit).Output.Trim());
        live.Stop();
    }

    /// <summary>The snapshot that is continued is known by more than its directory.</summary>
    [Fact]
    public void ParentThatWasReplaced_IsRefused()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string first = live.NewImages("first"), second = live.NewImages("second");
        live.Dump(Engine.Ours, first, "-R", "--track-mem");
        live.Dump(Engine.Ours, second, "-R", "--track-mem", "--prev-images-dir", "../first");
        live.Dump(Engine.Ours, first, "-R");
        List<int> tree = live.Processes();
        ProcessTable.Kill(live.Processes);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "killed");
        EngineRun.Refuses(["restore", "-d", "-D", second], "CP1301", "was replaced by another");
        live.Restore(Engine.Ours, first);
        live.Check("restored");
        live.Stop();
    }

    /// <summary>Two directories by turns: the third snapshot would take the place of the first, which it continues by the second.</summary>
    [Theory]
    [InlineData("--no-live")]
    [InlineData("--live")]
    public void ChainThatWouldReplaceItsBeginning_IsRefused(string live)
    {
        using var tree = new LiveWorkload(Workload.Named("mem_anon"));
        string first = tree.NewImages("first"), second = tree.NewImages("second");
        tree.Dump(Engine.Ours, first, "-R", "--track-mem");
        tree.Dump(Engine.Ours, second, "-R", "--track-mem", "--prev-images-dir", "../first");
        EngineRun.Refuses(["dump", "-t", $"{tree.Pid}", "-R", live, "-D", first, "--track-mem", "--prev-images-dir", "../second"], "CP1006", "../second", "take the place");
        EngineRun.Refuses(["pre-dump", "-t", $"{tree.Pid}", "-D", first, "--prev-images-dir", "../second"], "CP1006", "../second", "take the place");
        tree.Check("after both refusals");
        List<int> processes = tree.Processes();
        ProcessTable.Kill(tree.Processes);
        ProcessTable.WaitGone(processes, TimeSpan.FromSeconds(10), "killed");
        tree.Restore(Engine.Ours, second);
        tree.Stop();
    }

    /// <summary>An inventory that names a process which holds nothing does not have it killed.</summary>
    [Fact]
    public void ProcessThatIsNoHolder_IsLeftAlone()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string first = live.NewImages("first"), second = live.NewImages("second");
        live.Dump(Engine.Ours, first, "-R", "--track-mem");
        using Process victim = Process.Start("/bin/sleep", "100");
        string inventory = Path.Combine(first, "inventory.img");
        File.WriteAllBytes(inventory, Inventory.NamingHolder(File.ReadAllBytes(inventory), victim.Id));
        live.Dump(Engine.Ours, second, "-R", "--track-mem", "--prev-images-dir", "../first");
        Assert.False(victim.HasExited, "a process that was named in an image was killed");
        victim.Kill();
        live.Check("after both");
        live.Stop();
    }

    /// <summary>Who gets a userfaultfd can change the program's memory: another user's daemon does not get one.</summary>
    [Fact]
    public void DaemonOfAnotherUser_GetsNothing()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images"), script = Path.Combine(live.Home, "daemon.py");
        List<int> tree = live.Processes();
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        File.WriteAllText(script, $"import os, socket\ns = socket.socket(socket.AF_UNIX)\nos.chdir('{images}')\ns.bind('lazy-pages.socket')\nos.chmod('lazy-pages.socket', 0o777)\n"
            + $"os.setuid({Nobody})\ns.listen()\nprint('ready', flush=True)\nprint(len(s.accept()[0].recv(100)), flush=True)\n");
        using var daemon = Process.Start(new ProcessStartInfo("/usr/bin/python3", script) { RedirectStandardOutput = true })!;
        Assert.Equal("ready", daemon.StandardOutput.ReadLine());
        EngineRun.Refuses(["restore", "-d", "-D", images, "--lazy-pages"], "CP1500", "another user", $"{Nobody}");
        Assert.Equal("0", daemon.StandardOutput.ReadLine());
        live.Restore(Engine.Ours, images);
        live.Check("restored");
        live.Stop();
    }

    /// <summary>A directory of common pages that is none does not stand in the way for ever.</summary>
    [Fact]
    public void PlantedLinkToCommonPages_IsRemoved()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images"), elsewhere = live.NewImages("elsewhere");
        live.Dump(Engine.Ours, images, "-R");
        File.CreateSymbolicLink(Path.Combine(images, ".criu-pmem-common"), elsewhere);
        File.WriteAllText(Path.Combine(elsewhere, "kept"), "");
        for (int i = 0; i < 3; i++)
            live.Dump(Engine.Ours, images, "-R");
        Assert.True(File.Exists(Path.Combine(elsewhere, "kept")));
        live.Stop();
    }

    /// <summary>A tree with threads that somebody kills while it is restored is no reason to wait for ever.</summary>
    [Fact]
    public void TreeKilledWhileItIsRestored_IsTold()
    {
        using var live = new LiveWorkload(Workload.Named("threads_basic"));
        string images = live.NewImages("images");
        List<int> tree = live.Processes();
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        int told = 0;
        for (int i = 0; i < 30; i++)
        {
            // It is killed as soon as it has a second thread: the restore has steps to go.
            string script = $"while ! ls /proc/{live.Pid}/task/ 2>/dev/null | sed -n 2p | grep -q .; do :; done; kill -9 {live.Pid}";
            using Process killer = Process.Start("/bin/sh", ["-c", script]);
            Command restore = Command.Run(Engine.Ours.Program, ["restore", "-d", "-D", images], TimeSpan.FromSeconds(20));
            Assert.False(restore.TimedOut, "the restore waits for ever");
            told += restore.ExitCode == 0 ? 0 : 1;
            killer.Kill();
            ProcessTable.Kill(live.Processes);
            ProcessTable.WaitGone([live.Pid], TimeSpan.FromSeconds(10), "it was killed");
        }

        Assert.True(told > 0, "it was always killed too late: this shows nothing");
        live.Restore(Engine.Ours, images);
        live.Check("restored");
        live.Stop();
    }
}
