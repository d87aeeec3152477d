using System.Text.RegularExpressions;

namespace CriuPmem.SystemTests.Failures;

/// <summary>What happens to a tree whose memory is still coming back when something goes wrong with that.</summary>
public sealed class LazyRestoreTests
{
    // Some 200 MiB that are written, moved, dropped, unmapped and forked all the time: a third of a second to fill.
    private static readonly Workload Program = new("mem_churn", "400");

    /// <summary>Fork, mremap, munmap and MADV_DONTNEED while the pager fills: every page has what it must have.</summary>
    [Fact]
    public void Restore_ProgramThatChangesItsMemory_FindsItUnchanged()
    {
        using var live = new LiveWorkload(Program);
        int events = 0;
        for (int round = 1; round <= (Machine.Quick ? 2 : 6); round++)
        {
            string images = Restored(live, round, stopped: false);
            LazyPager.WaitDone(images); // a check would hold the thread that changes memory
            events += LazyPager.EventsOf(images);
            live.Check($"after lazy restore {round}");
            Machine.Delete(images);
        }

        Assert.True(events > 0, "the program did not move or drop any memory while it was filled: this shows nothing");
        live.Stop();
    }

    /// <summary>On persistent memory a tree of some size runs at once, unless the user does not want that.</summary>
    [Theory]
    [InlineData("320", "--use-pmem", true)]
    [InlineData("320", "", false)]
    [InlineData("320", "--use-pmem --no-lazy", false)]
    [InlineData("48", "--use-pmem", false)]
    public void Restore_Lazy_WhereItGainsMost(string mebibytes, string options, bool expected)
    {
        using var live = new LiveWorkload(new Workload("mem_hot", mebibytes));
        string images = Dumped(live, "images");
        live.Restore(Engine.Ours, images, options.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        string log = File.ReadAllText(Path.Combine(images, "restore.log"));
        Assert.True(expected == log.Contains("left to the pager", StringComparison.Ordinal), log);
        LazyPager.WaitDone(images);
        live.Check("after the restore");
        live.Stop();
    }

    /// <summary>What relatives share is read before, so that it stays shared; what each has of its own comes later.</summary>
    [Fact]
    public void Restore_TreeThatSharesPages_LeavesTheRestToThePager()
    {
        using var live = new LiveWorkload(Workload.Named("mem_fork_own"));
        for (int round = 1; round <= 2; round++)
        {
            string images = live.NewImages($"images.{round}");
            List<int> tree = live.Processes();
            live.Dump(Engine.Ours, images);
            ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
            live.Restore(Engine.Ours, images, "--lazy");
            string log = File.ReadAllText(Path.Combine(images, "restore.log"));
            Match left = Regex.Match(log, "([0-9]+) MiB of 3 processes left to the pager");
            Assert.True(left.Success, log);
            Assert.InRange(int.Parse(left.Groups[1].Value), 3 * 48, 3 * 48 + 2); // its own, and what one child had rewritten
            LazyPager.WaitDone(images);
            live.Check($"after lazy restore {round}");
        }

        live.Stop();
    }

    /// <summary>Memory that is filled page by page is in huge pages in the end, where the program allows it and every page is there.</summary>
    [Fact]
    public void Restore_HugePages_ComeBackBehindTheLastPage()
    {
        using var live = new LiveWorkload(Workload.Named("mem_thp"));
        List<int> tree = live.Processes();
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        live.Restore(Engine.Ours, images, "--lazy");
        LazyPager.WaitDone(images);
        Assert.True(SpinWait.SpinUntil(() => HugeKib(live.Pid, " hg") >= 2048, TimeSpan.FromSeconds(10)), "no huge page came back");
        Assert.Equal(0, HugeKib(live.Pid, " nh"));
        live.Check("after a lazy restore");
        live.Stop();
    }

    /// <summary>Missing pages would read as zeros: so the tree ends with its pager.</summary>
    [Fact]
    public void PagerKilled_TreeEnds_AndSeesNoZeros()
    {
        using var live = new LiveWorkload(Program);
        string images = Restored(live, 1, stopped: true);
        File.WriteAllText(Path.Combine(live.Home, "check.1"), ""); // it looks at all its pages, and waits for the first that is missing
        List<int> tree = live.Processes();
        Assert.Contains(live.Pid, tree); // its environment can be read, though hardly any page is there
        int guardian = LazyPager.FindGuardian(images);
        LazyPager.Signal("KILL", LazyPager.Find(images));
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "the pager was killed");
        ProcessTable.WaitGone([guardian], TimeSpan.FromSeconds(10), "the pager was killed");
        Assert.False(File.Exists(Path.Combine(live.Home, "result.1")), "it came to an end with pages missing");
    }

    /// <summary>ps(1) shows which of the two is which, with and without arguments.</summary>
    [Fact]
    public void Guardian_HasANameOfItsOwn()
    {
        using var live = new LiveWorkload(Program);
        string images = Restored(live, 1, stopped: true);
        int guardian = LazyPager.FindGuardian(images), pager = LazyPager.Find(images);
        Assert.Equal("criu-pmem-guard\0", File.ReadAllText($"/proc/{guardian}/cmdline"));
        Assert.StartsWith("criu-pmem\0lazy-restore-pager\0", File.ReadAllText($"/proc/{pager}/cmdline"), StringComparison.Ordinal);
        LazyPager.Signal("CONT", pager);
        LazyPager.WaitDone(images);
        live.Check("after all memory came");
        live.Stop();
    }

    /// <summary>While it makes huge pages the pager has let go of the pages files, which a dump may want to write again by then.</summary>
    [Fact]
    public void PagerThatMakesHugePages_HasNoPagesFile()
    {
        using var live = new LiveWorkload(new Workload("mem_hot", "512"));
        string images = Restored(live, 1, stopped: true);
        int pager = LazyPager.Find(images);
        Assert.Contains("pages-", File.ReadAllText($"/proc/{pager}/maps"), StringComparison.Ordinal);
        LazyPager.Signal("CONT", pager);
        LazyPager.WaitDone(images);
        bool seen = false;
        while (!seen && Directory.Exists($"/proc/{pager}"))
        {
            string maps = "";
            try
            {
                maps = File.ReadAllText($"/proc/{pager}/maps");
            }
            catch (IOException)
            {
                // It ended.
            }

            seen = maps.Contains("[stack]", StringComparison.Ordinal) && !maps.Contains("pages-", StringComparison.Ordinal);
        }

        Assert.True(seen, "the pager had the pages file as long as it lived");
        live.Check("after all memory came");
        live.Stop();
    }

    [Fact]
    public void GuardianKilled_TreeGoesOn()
    {
        using var live = new LiveWorkload(Program);
        string images = Restored(live, 1, stopped: true);
        int first = LazyPager.FindGuardian(images);
        LazyPager.Signal("KILL", first);
        LazyPager.Signal("CONT", LazyPager.Find(images));
        live.Check("after its guardian was killed");
        LazyPager.WaitDone(images);
        Assert.Contains("another one is started", File.ReadAllText(Path.Combine(images, "restore.log")), StringComparison.Ordinal);
        live.Check("after all memory came");
        live.Stop();
    }

    [Fact]
    public void Dump_WhileMemoryIsMissing_Refuses()
    {
        using var live = new LiveWorkload(Program);
        string images = Restored(live, 1, stopped: true), next = live.NewImages("next");
        int pager = LazyPager.Find(images);
        EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", next], "CP1201", "not all back yet", "criu-pmem-pager");
        Assert.False(File.Exists(Path.Combine(next, "inventory.img")), "a dump that failed left an inventory behind");
        LazyPager.Signal("CONT", pager);
        live.Check("after a dump that was refused");
        LazyPager.WaitDone(images);
        live.Dump(Engine.Ours, next);
        live.Restore(Engine.Ours, next);
        live.Check("after the next dump");
        live.Stop();
    }

    /// <summary>A restore that fails when its pager serves already leaves neither tree nor pager nor guardian.</summary>
    [Fact]
    public void Restore_RefusedByAScript_LeavesNothing()
    {
        using var live = new LiveWorkload(Program);
        string images = Dumped(live, "images");
        string seen = Path.Combine(live.Home, "seen");
        string script = EngineRun.Script(live, "post-restore", $"pgrep -x criu-pmem-pager >{seen}; exit 1");
        EngineRun.Refuses(["restore", "-d", "--lazy", "-D", images, "--action-script", script], "CP1005");
        Assert.NotEqual("", File.ReadAllText(seen).Trim()); // else this shows nothing
        live.ExpectGone("after a restore that was refused");
        LazyPager.WaitGone(images);
        live.Restore(Engine.Ours, images, "--lazy");
        live.Check("after the next restore");
        LazyPager.WaitDone(images);
        live.Stop();
    }

    /// <summary>KiB in huge pages of the mappings that have a flag.</summary>
    private static int HugeKib(int pid, string flag) => Regex.Matches(File.ReadAllText($"/proc/{pid}/smaps"), @"AnonHugePages: +([0-9]+) kB[^-]*?VmFlags:([^\n]*)")
        .Where(mapping => mapping.Groups[2].Value.Contains(flag, StringComparison.Ordinal)).Sum(mapping => int.Parse(mapping.Groups[1].Value));

    /// <summary>Dumps the tree and restores it; the pager is stopped before it has done much, or works.</summary>
    private static string Restored(LiveWorkload live, int round, bool stopped)
    {
        string images = Dumped(live, $"images.{round}");
        live.Restore(Engine.Ours, images, stopped ? ["--lazy", "--action-script", LazyPager.StopIt(live, images)] : ["--lazy"]);
        return images;
    }

    /// <summary>Dumps the tree in a moment in which it has no child: the pages that they share would be read at once.</summary>
    private static string Dumped(LiveWorkload live, string name)
    {
        for (int attempt = 1; ; attempt++)
        {
            string images = live.NewImages($"{name}.{attempt}");
            List<int> before = live.LastingProcesses();
            live.Dump(Engine.Ours, images);
            ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
            if (Directory.GetFiles(images, "mm-*.img").Length == 1)
                return images;
            live.Restore(Engine.Ours, images);
        }
    }
}
