namespace CriuPmem.SystemTests.Failures;

/// <summary>Pages that were freed for a later snapshot: that one is restored, the earlier one is refused, and never filled with zeros.</summary>
public sealed class DedupTests
{
    [Theory]
    [InlineData("--auto-dedup")]
    [InlineData("dedup")]
    public void Earlier_IsRefused_LaterIsRestored(string how)
    {
        using var live = new LiveWorkload(Workload.Named("mem_churn"));
        string first = live.NewImages("1"), second = live.NewImages("2");
        List<int> before = live.LastingProcesses();
        live.Dump(Engine.Ours, first, "-R", "--track-mem");
        live.Check("after the first snapshot");
        live.Dump(Engine.Ours, second, ["--prev-images-dir", "../1", .. how == "dedup" ? (string[])[] : [how]]);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
        if (how == "dedup") Assert.Equal(0, EngineRun.Run("dedup", "-D", second).ExitCode);
        ExpectRefused(live, first, second);
        ExpectRefused(live, first, second, "--lazy");
        string copy = live.NewImages("copy");
        Command.Run("/bin/cp", ["-a", first + "/.", copy], Engine.Limit);
        ExpectRefused(live, copy, second);
        live.Restore(Engine.Ours, second);
        live.Check("after the later one was restored");
        live.Stop();
    }

    [Fact]
    public void ChainOfThree_OnlyTheLastIsWhole()
    {
        using var live = new LiveWorkload(Workload.Named("mem_churn"));
        string[] chain = [live.NewImages("1"), live.NewImages("2"), live.NewImages("3")];
        List<int> before = live.LastingProcesses();
        live.Dump(Engine.Ours, chain[0], "-R", "--track-mem");
        live.Check("after the first");
        live.Dump(Engine.Ours, chain[1], "-R", "--track-mem", "--prev-images-dir", "../1", "--auto-dedup");
        live.Check("after the second");
        live.Dump(Engine.Ours, chain[2], "--prev-images-dir", "../2", "--auto-dedup");
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
        Assert.Equal(0, EngineRun.Run("dedup", "-D", chain[2]).ExitCode); // there is nothing left to do
        ExpectRefused(live, chain[0], chain[1], chain[2]);
        ExpectRefused(live, chain[1], chain[2]);
        live.Restore(Engine.Ours, chain[2]);
        live.Check("after the last was restored");
        live.Dump(Engine.Ours, chain[0]); // a new one in the place of what was freed
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
        live.Restore(Engine.Ours, chain[0]);
        live.Check("after a new one was restored from there");
        live.Stop();
    }

    /// <summary>Pages files that others may read, or that are somebody else's, are changed where they are: what is left in them is needed.</summary>
    [Theory]
    [InlineData("chmod 644")]
    [InlineData("chown 65534")]
    public void FileThatIsNotOursAlone_KeepsWhatIsNeeded(string change)
    {
        using var live = new LiveWorkload(Workload.Named("mem_churn"));
        string first = live.NewImages("1"), second = live.NewImages("2");
        List<int> before = live.LastingProcesses();
        live.Dump(Engine.Ours, first, "-R", "--track-mem");
        Assert.Equal(0, Command.Run("/bin/sh", ["-c", $"{change} {first}/*.img"], Engine.Limit).ExitCode);
        live.Check("after the first snapshot");
        live.Dump(Engine.Ours, second, "--prev-images-dir", "../1");
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
        Assert.Equal(0, EngineRun.Run("dedup", "-D", second).ExitCode);
        ExpectRefused(live, first, second);
        live.Restore(Engine.Ours, second);
        live.Check("restored");
        live.Stop();
    }

    /// <summary>A flipped bit in the mark does not make zeros of pages that are gone, and takes nothing from the later snapshot.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(28)]
    public void DamagedMark_StillKeepsTheEarlierFromBeingRestored(int fromEnd)
    {
        using var live = new LiveWorkload(Workload.Named("mem_churn"));
        string first = live.NewImages("1"), second = live.NewImages("2");
        List<int> before = live.LastingProcesses();
        live.Dump(Engine.Ours, first, "-R", "--track-mem");
        live.Check("after the first snapshot");
        live.Dump(Engine.Ours, second, "--prev-images-dir", "../1", "--auto-dedup");
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
        foreach (string pages in Directory.GetFiles(first, "pages-*.img"))
        {
            using FileStream file = File.Open(pages, FileMode.Open, FileAccess.ReadWrite);
            if (file.Length % 4096 == 0) continue;
            file.Position = file.Length - fromEnd;
            int flipped = file.ReadByte() ^ 1;
            file.Position--;
            file.WriteByte((byte)flipped);
        }

        EngineRun.Refuses(["restore", "-d", "-D", first], "CP1301", "no longer in this snapshot");
        live.ExpectGone("after a restore that was refused");
        Assert.Equal(0, EngineRun.Run("dedup", "-D", second).ExitCode);
        live.Restore(Engine.Ours, second);
        live.Check("after the later one was restored");
        live.Stop();
    }

    /// <summary>A backup by hard links shares its files: holes in one would be holes in the other.</summary>
    [Theory]
    [InlineData("--auto-dedup")]
    [InlineData("dedup")]
    public void FileWithAnotherName_IsLeft(string how)
    {
        using var live = new LiveWorkload(Workload.Named("mem_churn"));
        string first = live.NewImages("1"), second = live.NewImages("2"), backup = Path.Combine(live.Home, "backup");
        List<int> before = live.LastingProcesses();
        live.Dump(Engine.Ours, first, "-R", "--track-mem");
        Assert.Equal(0, Command.Run("/bin/cp", ["-al", first, backup], Engine.Limit).ExitCode);
        string[] pages = Directory.GetFiles(backup, "pages-*.img");
        byte[][] saved = [.. pages.Select(File.ReadAllBytes)];
        live.Check("after the first snapshot");
        live.Dump(Engine.Ours, second, ["--prev-images-dir", "../1", .. how == "dedup" ? (string[])[] : [how]]);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
        if (how == "dedup") EngineRun.Refuses(["dedup", "-D", second], "CP1300", "pages-", "another name", "Nothing was freed");
        else Assert.Contains("another name", File.ReadAllText(Path.Combine(second, "dump.log")), StringComparison.Ordinal);
        for (int i = 0; i < pages.Length; i++) Assert.Equal(saved[i], File.ReadAllBytes(pages[i]));
        live.Restore(Engine.Ours, second);
        live.Check("restored");
        live.Stop();
    }

    /// <summary>The mark behind the pages is nothing to the peer.</summary>
    [Fact]
    public void Peer_RestoresTheLater()
    {
        if (Machine.PeerMode is "0" or "") Assert.Skip("needs the peer");
        using var live = new LiveWorkload(Workload.Named("mem_churn"));
        string first = live.NewImages("1"), second = live.NewImages("2");
        List<int> before = live.LastingProcesses();
        live.Dump(Engine.Ours, first, "-R", "--track-mem");
        live.Check("after the first snapshot");
        live.Dump(Engine.Ours, second, "--prev-images-dir", "../1", "--auto-dedup");
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
        ExpectRefused(live, first, second);
        live.Restore(Engine.Peer, second);
        live.Check("after the peer restored it");
        live.Stop();
    }

    /// <summary>Pages that several processes have in common are freed only when none has them from there.</summary>
    [Fact]
    public void CommonPages_AreNotFreed()
    {
        using var live = new LiveWorkload(Workload.Named("mem_cow_fork"));
        string images = live.NewImages("images");
        List<int> before = live.LastingProcesses();
        live.Dump(Engine.Ours, images, "--dedup-pages");
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
        Assert.True(Directory.Exists(Path.Combine(images, ".criu-pmem-common")));
        Assert.Equal(0, EngineRun.Run("dedup", "-D", images).ExitCode);
        live.Restore(Engine.Ours, images);
        live.Check("after dedup of a snapshot with common pages");
        live.Stop();
    }

    [Fact]
    public void WithoutImages_IsRefused()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        EngineRun.Refuses(["dedup", "-D", live.NewImages("empty")], "CP1301", "inventory.img");
        live.Stop();
    }

    [Fact]
    public void PredecessorIsMissing_IsSaid()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string first = live.NewImages("1"), second = live.NewImages("2");
        List<int> before = live.LastingProcesses();
        live.Dump(Engine.Ours, first, "-R", "--track-mem");
        live.Dump(Engine.Ours, second, "--prev-images-dir", "../1");
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
        Directory.Move(first, first + ".away");
        EngineRun.Refuses(["restore", "-d", "-D", second], "CP1301", "which this one continues", "../1", "side by side");
        Directory.Move(first + ".away", first);
        live.Restore(Engine.Ours, second);
        live.Check("with its predecessor");
        live.Stop();
    }

    private static void ExpectRefused(LiveTree live, string images, params string[] laterOrOptions)
    {
        string[] options = [.. laterOrOptions.Where(static word => word.StartsWith('-'))];
        string line = EngineRun.Refuses(["restore", "-d", "-D", images, .. options], "CP1301", "were freed", "--auto-dedup", images);
        Assert.Contains(laterOrOptions, word => line.Contains($"({word})", StringComparison.Ordinal));
        live.ExpectGone("after a restore that was refused");
    }
}
