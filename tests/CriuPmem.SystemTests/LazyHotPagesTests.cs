using System.Diagnostics;
using System.Runtime.InteropServices;
using CriuPmem.Images;

namespace CriuPmem.SystemTests;

/// <summary>What a program touched first at one lazy restore comes first at the next one of the same snapshot.</summary>
public sealed class LazyHotPagesTests
{
    private const int HotBlocks = 64; // mem_hot.c
    private const int Round = 2; // of the check behind the dump
    private const int Attempts = 5;

    // Filled in order of addresses, its hot blocks would come behind at least 576 MiB.
    private static readonly Workload Program = new("mem_hot", "768");
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>The pager is stopped once it has filled what was hot: a check ends without it, though most memory is missing.</summary>
    [Fact]
    public void RestoreAgain_FindsWhatItNeeds_BeforeTheRest()
    {
        using var live = new LiveWorkload(Program);
        string images = Recorded(live);
        for (int attempt = 1; !RestoredWithHotPagesOnly(live, images); attempt++)
        {
            Assert.True(attempt < Attempts, "the pager had always filled everything before it could be stopped: this shows nothing");
            End(live);
        }

        int pager = LazyPager.Find(images);
        foreach (int pid in live.Processes()) LazyPager.Signal("CONT", pid);
        Answered(live, "with most of its memory missing");
        Assert.DoesNotContain("all memory is there", Log(images), StringComparison.Ordinal);
        LazyPager.Signal("CONT", pager);
        LazyPager.WaitDone(images);
        File.WriteAllText(Path.Combine(live.Home, "all"), "");
        File.WriteAllText(Path.Combine(live.Home, $"check.{Round + 1}"), "");
        Answered(live, "after all memory came", Round + 1);
        live.Stop();
    }

    /// <summary>A dump notes what the program has written since the snapshot before, and what was touched first after a restore of that.</summary>
    [Theory]
    [InlineData("64")] // copied while it runs
    [InlineData("16")] // copied while it stands still
    public void DumpInAChain_NotesWhatWasWritten(string mib)
    {
        using var live = new LiveWorkload(new Workload("mem_hot", mib));
        string first = live.NewImages("first"), second = live.NewImages("second"), third = live.NewImages("third");
        live.Check("before the dumps");
        live.Dump(Engine.Ours, first, "-R", "--track-mem");
        string early = Path.Combine(first, "hot-pages.img");
        Assert.Equal(0, File.Exists(early) ? HotBlocksIn(early) : 0); // nothing but its stack is written while it waits
        File.WriteAllText(Path.Combine(live.Home, "write"), "");
        live.Check("that writes");
        File.Delete(Path.Combine(live.Home, "write"));
        live.Dump(Engine.Ours, second, "-R", "--track-mem", "--prev-images-dir", "../first");
        Assert.Equal(HotBlocks, HotBlocksIn(Path.Combine(second, "hot-pages.img")));
        live.Dump(Engine.Ours, third, "--track-mem", "--prev-images-dir", "../second"); // nothing was written since
        Assert.Equal(HotBlocks, HotBlocksIn(Path.Combine(third, "hot-pages.img")));
        live.Restore(Engine.Ours, third, "--lazy");
        LazyPager.WaitDone(third);
        Assert.Contains("are filled", Log(third), StringComparison.Ordinal);
        live.Check("restored");
        live.Stop();
    }

    /// <summary>A program that is saved into the same directory again and again does not lose what was found out about it.</summary>
    [Fact]
    public void DumpThatReplaces_KeepsWhatWasTouchedFirst()
    {
        using var live = new LiveWorkload(new Workload("mem_hot", "64"));
        string images = live.NewImages("images"), file = Path.Combine(images, "hot-pages.img");
        live.Dump(Engine.Ours, images);
        live.Restore(Engine.Ours, images, "--lazy", "--action-script", LazyPager.StopIt(live, images));
        LazyPager.Signal("CONT", LazyPager.Find(images));
        LazyPager.WaitDone(images);
        HotRange[] touched = Ranges(file);
        Assert.NotEmpty(touched);
        live.Dump(Engine.Ours, images);
        Assert.Equal(touched, Ranges(file));
        live.Restore(Engine.Ours, images, "--lazy");
        LazyPager.WaitDone(images);
        Assert.DoesNotContain("not heeded", Log(images), StringComparison.Ordinal);
        Assert.Contains("are filled", Log(images), StringComparison.Ordinal);
        live.Check("restored again");
        live.Stop();
    }

    /// <summary>What a program writes while it is copied is what it works with.</summary>
    [Fact]
    public void LiveDump_NotesWhatWasWrittenMeanwhile()
    {
        using var live = new LiveWorkload(Workload.Named("mem_one_instant"));
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images, "-R", "--live", "--live-mode", "copy");
        HashSet<int> tree = [.. live.Processes()];
        HotRange[] written = Ranges(Path.Combine(images, "hot-pages.img"));
        Assert.True(written.Select(static range => range.Pid).Distinct().Count() > 1, "one process at most is known to have written");
        Assert.All(written, range => Assert.Contains((int)range.Pid, tree));
        live.Check("after a live dump");
        live.Stop();
    }

    /// <summary>What belongs to another snapshot, or is damaged, is not heeded; a dump into the same directory takes it away.</summary>
    [Fact]
    public void ForeignFile_IsNotHeeded_AndGoesWithItsSnapshot()
    {
        using var live = new LiveWorkload(new Workload("mem_hot", "64"));
        string images = live.NewImages("images"), file = Path.Combine(images, "hot-pages.img");
        live.Dump(Engine.Ours, images);
        File.WriteAllText(file, "of somebody else");
        live.Restore(Engine.Ours, images, "--lazy");
        LazyPager.WaitDone(images);
        Assert.Contains("hot-pages.img is not heeded", Log(images), StringComparison.Ordinal);
        live.Check("after a restore beside a foreign file");
        File.WriteAllText(file, "of somebody else");
        live.Dump(Engine.Ours, images);
        Assert.False(File.Exists(file), "a file about the snapshot before is left");
        live.Restore(Engine.Ours, images, "--lazy");
        LazyPager.WaitDone(images);
        live.Check("after the next restore");
        live.Stop();
    }

    /// <summary>Dumps, and restores once, the pager stopped until the program waits: so that it waits for every hot block.</summary>
    private static string Recorded(LiveWorkload live)
    {
        live.Check("before the dump"); // so that the next ones touch no page that was not saved: only the pager knows that it is zero
        string images = live.NewImages("images");
        List<int> tree = live.Processes();
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        File.WriteAllText(Path.Combine(live.Home, $"check.{Round}"), ""); // it finds it wherever it is restored
        for (int attempt = 1; ; attempt++)
        {
            File.Delete(Path.Combine(images, "hot-pages.img"));
            live.Restore(Engine.Ours, images, "--lazy", "--action-script", LazyPager.StopIt(live, images));
            LazyPager.Signal("CONT", LazyPager.Find(images));
            Answered(live, "while its memory comes back");
            LazyPager.WaitDone(images);
            End(live);
            int hot = HotBlocksIn(Path.Combine(images, "hot-pages.img"));
            if (hot == HotBlocks)
                return images;
            Assert.True(attempt < Attempts, $"{hot} blocks are kept that were touched: others were always there before that, this shows nothing");
        }
    }

    /// <summary>How many ranges of the large mapping stand in the file: its hot blocks have no neighbours.</summary>
    private static int HotBlocksIn(string file) => Ranges(file).Count(static range => range.Start >> 32 == 0x3000);

    private static HotRange[] Ranges(string file) => MemoryMarshal.Cast<byte, HotRange>(File.ReadAllBytes(file).AsSpan(32)).ToArray();

    /// <summary>Restores, the tree standing still, and stops the pager behind the hot pages; false when it was too fast.</summary>
    private static bool RestoredWithHotPagesOnly(LiveWorkload live, string images)
    {
        live.Restore(Engine.Ours, images, "--lazy", "--leave-stopped");
        var clock = Stopwatch.StartNew();
        while (!Log(images).Contains("touched first at an earlier restore are filled", StringComparison.Ordinal))
        {
            Assert.True(clock.Elapsed < Patience, $"what was touched first is not filled first.\n{Engine.Tail(Path.Combine(images, "restore.log"))}");
            Thread.Sleep(1);
        }

        if (Log(images).Contains("all memory is there", StringComparison.Ordinal))
            return false;
        LazyPager.Signal("STOP", LazyPager.Find(images));
        return !Log(images).Contains("all memory is there", StringComparison.Ordinal);
    }

    /// <summary>Waits for the answer to a check, by default the one that every restored program finds.</summary>
    private static void Answered(LiveWorkload live, string when, int round = Round)
    {
        string result = Path.Combine(live.Home, $"result.{round}");
        Assert.True(SpinWait.SpinUntil(() => File.Exists(result), Patience), $"no answer {when}");
        Assert.Equal("OK", File.ReadAllText(result).Trim());
        File.Delete(result);
    }

    private static void End(LiveWorkload live)
    {
        List<int> tree = live.Processes();
        foreach (int pid in tree) LazyPager.Signal("KILL", pid);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "it was killed");
    }

    private static string Log(string images) => File.ReadAllText(Path.Combine(images, "restore.log"));
}
