namespace CriuPmem.SystemTests.Failures;

/// <summary>
/// The engine is killed at any instant. Of a dump: the program goes on as if nothing had been, or its images are
/// complete. Of a restore: nothing is left, and the next restore succeeds.
/// </summary>
public sealed class KillTests
{
    private const string KillDump = "kill_dump";
    private const string KillTwins = "kill_twins";
    private const string KillRestore = "kill_restore";

    /// <summary>Their names in not-yet.txt, with the direction "ours".</summary>
    public static IEnumerable<string> Subjects => [KillDump, KillTwins, KillRestore];

    private static int Kills => Machine.Quick ? 20 : 200;

    // Their programs may be harmed by an engine's death at one place, as docs/roadmap.md says ("Known limits"): while remote
    // calls run under strict seccomp, inside the handover of a vfork, and between stop and rewinding under a filter that
    // kills for going on after any stop (a SIGSTOP kills that program, too).
    private static string[] HarmedByAnEnginesDeath => ["seccomp_restart", "seccomp_strict", "tree_vfork", "tree_vfork_exec"];

    // What dumps today in both ways, but for those that take long to get ready or to check themselves.
    private static Workload[] Candidates =>
    [
        .. Workload.All.Where(workload => !workload.Name.Contains("1000", StringComparison.Ordinal)
            && workload.Name is not ("mem_many_50000" or "tree_200" or "mem_reserve_huge")
            && !HarmedByAnEnginesDeath.Contains(workload.Name)
            && !KnownGaps.Listed.Any(gap => gap.Subject == workload.Name && gap.Direction.StartsWith("ours", StringComparison.Ordinal)
                && !gap.Direction.EndsWith("peer", StringComparison.Ordinal))),
    ];

    // Those with memory of their own that is worth a twin.
    private static Workload[] TwinCandidates => [.. Candidates.Where(workload => workload.Name is
        "mem_anon" or "mem_churn" or "mem_cow_fork" or "mem_no_children" or "mem_one_instant" or "mem_thp" or "threads_basic")];

    [Fact]
    public void Dump_Killed_ProgramGoesOn() => Run(KillDump, Kills, Candidates, KillDumps);

    /// <summary>Twins die with the engine; the program never had a child.</summary>
    [Fact]
    public void DumpFromTwins_Killed_ProgramGoesOn() => Run(KillTwins, Kills / 2, TwinCandidates, (live, random, each) => KillDumps(live, random, each, "--live-mode=twins"));

    private static int KillDumps(LiveWorkload live, Random random, int each) => KillDumps(live, random, each, []);

    private static int KillDumps(LiveWorkload live, Random random, int each, params string[] more)
    {
        TimeSpan whole = EngineRun.Time(() => live.Dump(Engine.Ours, live.NewImages("images"), ["-R", .. more]));
        live.Check("after a dump that was not killed");
        int inTime = 0;
        for (int i = 1; i <= each; i++)
        {
            string images = live.NewImages($"images.{i}");
            bool leaves = i % 2 == 1;
            List<int> before = live.Processes();
            string[] arguments = ["dump", "-t", $"{live.Pid}", "-D", images, "-o", "dump.log", "-v4", .. live.Options, .. more];
            TimeSpan after = whole * (0.1 + random.NextDouble());
            int? exit = EngineRun.Kill(after, leaves ? [.. arguments, "-R"] : arguments);
            inTime += exit is null ? 1 : 0;
            string when = $"killed after {after.TotalMilliseconds:0.0} ms of dump{(leaves ? " -R" : "")}";
            ProcessTable.WaitGone([.. live.Processes().Except(before)], TimeSpan.FromSeconds(3), $"{live.Name}, {when}");
            AfterDump(live, images, before, exit, when);
            Machine.Delete(images);
        }

        return inTime;
    }

    [Fact]
    public void Restore_Killed_LeavesNothing() => Run(KillRestore, Kills / 4, Candidates, (live, random, each) =>
    {
        string images = live.NewImages("images");
        DumpAway(live, images);
        TimeSpan whole = EngineRun.Time(() => live.Restore(Engine.Ours, images));
        live.Check("after the first restore");
        int inTime = 0;
        for (int i = 1; i <= each; i++)
        {
            Machine.Delete(images);
            images = live.NewImages($"images.{i}");
            DumpAway(live, images);
            TimeSpan after = whole * (0.1 + random.NextDouble());
            string[] names = Names(images);
            int? exit = EngineRun.Kill(after, ["restore", "-d", "-D", images, "-o", "restore.log", "-v4", .. live.Options]);
            string when = $"killed after {after.TotalMilliseconds:0.0} ms of restore";
            if (exit is null)
            {
                inTime++;
                // From the commit on it is complete: the tree runs, and that is right too.
                if (!IsWhole(live))
                    ProcessTable.WaitGone(live.Processes(), TimeSpan.FromSeconds(3), $"{live.Name}, {when}");
                Assert.Equal(names, Names(images));
            }

            if (live.Processes().Count == 0)
                live.Restore(Engine.Ours, images);
            live.Check($"after the second restore ({when})");
        }

        return inTime;
    });

    /// <summary>An engine that is killed leaves its scratch mapping; the next dump takes it away, and does not save it.</summary>
    [Fact]
    public void Dump_AfterAKilledOne_RemovesItsScratch()
    {
        using var live = new LiveWorkload(Workload.Named("threads_basic"));
        string before = Executable(live.Pid);
        string kill = EngineRun.Script(live, "post-dump", "kill -KILL $PPID");
        for (int i = 1; i <= 3; i++)
        {
            Command killed = EngineRun.Run("dump", "-R", "-t", $"{live.Pid}", "-D", live.NewImages($"killed.{i}"), "--action-script", kill);
            Assert.Equal(137, killed.ExitCode);
            live.Check("after a dump that was killed");
        }

        Assert.NotEqual(before, Executable(live.Pid)); // else this shows nothing
        live.Dump(Engine.Ours, live.NewImages("next"), "-R");
        Assert.Equal(before, Executable(live.Pid));
        live.Check("after the next dump");
        EngineRun.Run("dump", "-R", "-t", $"{live.Pid}", "-D", live.NewImages("killed"), "--action-script", kill);
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images);
        live.Restore(Engine.Ours, images);
        Assert.Equal(before, Executable(live.Pid));
        live.Check("restored");
        live.Stop();
    }

    private static string Executable(int pid) =>
        string.Join('\n', File.ReadAllLines($"/proc/{pid}/maps").Where(line => line.Contains(" rwxp ", StringComparison.Ordinal)));

    /// <summary>Has workloads in random order killed a number of times in all; every workload's failure is told.</summary>
    /// <param name="subject">Its name in not-yet.txt.</param>
    /// <param name="kills">How many kills in all.</param>
    /// <param name="candidates">The workloads.</param>
    /// <param name="round">Kills the engine a number of times; returns how often it hit before the end.</param>
    private static void Run(string subject, int kills, Workload[] candidates, Func<LiveWorkload, Random, int, int> round) =>
        KnownGaps.Run(subject, "ours", () => Seed.Run(random => Run(random, kills, candidates, round)), byChance: true);

    private static void Run(Random random, int kills, Workload[] candidates, Func<LiveWorkload, Random, int, int> round)
    {
        random.Shuffle(candidates);
        int each = Math.Max(2, (kills + candidates.Length - 1) / candidates.Length);
        int done = 0, inTime = 0;
        var failures = new List<string>();
        foreach (Workload workload in candidates.TakeWhile(_ => done < kills))
        {
            done += each;
            using var live = new LiveWorkload(workload);
            try
            {
                live.Check("before anything");
                inTime += round(live, random, each);
                live.Stop();
            }
            catch (Exception failure) when (failure is WorkloadFailure or EngineFailure or TimeoutException)
            {
                failures.Add($"{workload.Name}: {failure.Message}");
            }
        }

        Assert.True(failures.Count == 0, string.Join('\n', failures));
        Assert.True(inTime > kills / 4, $"only {inTime} of {done} kills hit before the end");
    }

    private static void AfterDump(LiveWorkload live, string images, List<int> before, int? exit, string when)
    {
        bool complete = File.Exists(Path.Combine(images, "inventory.img"));
        if (exit is > 0)
            throw new EngineFailure($"{when}: exits with {exit}\n{Engine.Tail(Path.Combine(images, "dump.log"))}");
        // The end of a plain dump kills the tree: by then the images are complete, and the rest may be ended too.
        Thread.Sleep(exit is null ? 5 : 0);
        List<int> now = live.Processes();
        if (now.Count < before.Count)
        {
            if (!complete)
                throw new WorkloadFailure($"{when}: {before.Count - now.Count} processes are gone, and there are no images");
            ProcessTable.Kill(live.Processes);
            ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), when);
            live.Restore(Engine.Ours, images);
        }

        live.Check(when);
    }

    private static bool IsWhole(LiveWorkload live)
    {
        Thread.Sleep(20);
        List<int> now = live.Processes();
        return now.Contains(live.Pid) && now.All(pid => ProcessTable.Describe(pid).Contains("TracerPid: 0", StringComparison.Ordinal));
    }

    private static void DumpAway(LiveWorkload live, string images)
    {
        List<int> tree = live.Processes();
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
    }

    // Statistics and log may have been written already.
    private static string[] Names(string images) => [.. Directory.GetFiles(images, "*.img")
        .Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)];
}
