namespace CriuPmem.SystemTests;

/// <summary>Dumps and restores a tree several times in a row, and has it check itself each time.</summary>
internal static class Rounds
{
    public static void Run(LiveTree live, Direction direction, int rounds)
    {
        live.Check("before the first dump");
        for (int round = 1; round <= rounds; round++)
        {
            live.Settle();
            if (direction.LeaveRunning)
                DumpAndLeave(live, direction, round);
            else if (direction.Twins)
                DumpFromTwins(live, direction, round);
            else
                DumpAndRestore(live, direction, round);
        }

        live.Stop();
    }

    private static void DumpAndRestore(LiveTree live, Direction direction, int round)
    {
        string images = live.NewImages($"images.{round}");
        string[] chain = PreDump(live, direction, round);
        List<int> before = live.LastingProcesses();
        List<string> options = chain.Length == 0 ? [] : ["--prev-images-dir", Path.Combine("..", Path.GetFileName(chain[^1]))];
        if (direction.Live)
            options.Add("--live");
        if (direction.Compress is not null)
            options.Add($"--compress={direction.Compress}");
        live.Dump(direction.Dumps, images, [.. options]);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), $"{direction.Dumps.Name} dump, round {round}");
        if (round == 1 && direction.Dumps == Engine.Ours && Machine.PeerMode is not ("0" or ""))
            Crit.DecodeAll(images);
        live.Restore(direction.Restores, images, direction.Lazy ? ["--lazy"] : []);
        Assert.Equal(before, live.LastingProcesses());
        if (direction.Lazy && LazyPager.Seeing.Contains(live.Name))
            LazyPager.WaitDone(images);
        live.Check($"after restore {round}");
        if (direction.Lazy)
            LazyPager.WaitDone(images);
        Machine.Delete(images);
        foreach (string earlier in chain)
            Machine.Delete(earlier);
    }

    /// <summary>Saves memory ahead, round after round, the program checking itself (and so writing) in between.</summary>
    private static string[] PreDump(LiveTree live, Direction direction, int round)
    {
        var chain = new List<string>();
        for (int i = 1; i <= direction.PreDumps; i++)
        {
            string images = live.NewImages($"images.{round}.{i}");
            string[] parent = chain.Count == 0 ? [] : ["--prev-images-dir", Path.Combine("..", Path.GetFileName(chain[^1]))];
            string[] compress = direction.Compress is null ? [] : [$"--compress={direction.Compress}"];
            if (direction.Live)
                live.Dump(direction.Dumps, images, ["-R", "--track-mem", "--live", .. parent]);
            else
                direction.Dumps.PreDump(live.Pid, images, [.. parent, .. compress]);
            chain.Add(images);
            live.Check($"after pre-dump {i} of round {round}");
        }

        return [.. chain];
    }

    /// <summary>Twice: once the tree that ran on is looked at, once the snapshot. Neither may have noticed anything.</summary>
    private static void DumpFromTwins(LiveTree live, Direction direction, int round)
    {
        const string twins = "--live-mode=twins";
        DumpAndLeave(live, direction, round, twins);
        live.Settle();
        string images = live.NewImages($"images.{round}");
        List<int> before = live.LastingProcesses();
        live.Dump(direction.Dumps, images, "-R", twins);
        ProcessTable.Kill(live.Processes);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), $"killed after dump -R, round {round}");
        live.Restore(direction.Restores, images);
        Assert.Equal(before, live.LastingProcesses());
        live.Check($"after restore {round} of what twins had");
        Machine.Delete(images);
    }

    private static void DumpAndLeave(LiveTree live, Direction direction, int round, params string[] more)
    {
        string images = live.NewImages($"images.{round}");
        List<int> before = live.LastingProcesses();
        live.Dump(direction.Dumps, images, ["-R", .. more]);
        Assert.Equal(before, live.LastingProcesses());
        live.Check($"after dump {round} that leaves it running");
        Assert.True(File.Exists(Path.Combine(images, "inventory.img")), "dump -R wrote no inventory");
        Machine.Delete(images);
    }
}
