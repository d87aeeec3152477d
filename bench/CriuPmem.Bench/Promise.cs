namespace CriuPmem.Bench;

/// <summary>One row of the second table: something that is not the time of one command.</summary>
/// <param name="Name">Its name on the command line.</param>
/// <param name="Title">Its name in the table.</param>
/// <param name="Unit">"ms", "%".</param>
/// <param name="Goal">What was wanted, in the unit; NaN for what is no number.</param>
/// <param name="Repeats">Runs of each engine.</param>
/// <param name="Ours">Measures criu-pmem once.</param>
/// <param name="Peer">Measures the peer once; null where it has nothing of the kind.</param>
/// <param name="AtLeast">The goal is a minimum.</param>
/// <param name="GoalText">It in words.</param>
internal sealed record Promise(string Name, string Title, string Unit, double Goal, int Repeats, Func<double> Ours, Func<double>? Peer, bool AtLeast = false, string GoalText = "")
{
    private const int PagesInPercentOf4GiB = 10_486;

    /// <summary>All rows.</summary>
    public static IReadOnlyList<Promise> All(Engines engines) =>
    [
        Live("live4-little", "4 GiB live, 1% written meanwhile: frozen", 4096, "small", "8000", 10, engines),
        Live("live4-all", "4 GiB live, everything written meanwhile: frozen", 4096, "small", "all", 80, engines),
        Live("live4-huge", "4 GiB live in huge pages, 1% written meanwhile: frozen", 4096, "huge", "8000", 5, engines),
        new("incremental4", "4 GiB, 1% written since the last round: frozen", "ms", 5, 3, () => Incremental(engines), null),
        Instant("instant4", "4 GiB instant restore: command to first instruction", 4096, "small", engines),
        Instant("instant4-huge", "4 GiB in huge pages, instant restore: command to first instruction", 4096, "huge", engines),
        Instant("instant8", "8 GiB instant restore: command to first instruction", 8192, "small", engines),
        new("instant16", "16 GiB instant restore, images on a disk: command to first instruction", "ms", 10, 1, () => FirstInstruction16(engines), null),
        new("instant4-all", "4 GiB instant restore: command to last page", "ms", double.NaN, 3, () => AllPages(engines), () => EagerEnd(engines), GoalText: "not later than CRIU"),
        new("recycled1", "1 GiB dumped into recycled files (--recycle)", "ms", double.NaN, 5, () => Recycled(engines), () => Fresh(engines, engines.Peer), GoalText: "≤ 0.15 of CRIU's time"),
        new("copy1", "1 GiB: copying while it stands still, in per cent of the speed of memcpy into such a file (more is better)", "%", 80, 5, () => CopySpeed(engines), null, AtLeast: true),
        new("disk1", "1 GiB until it is durable on the disk of the temporary directory: speed past the page cache in per cent of that through it (bench/disk.c)", "%", 100, 5, () => DiskSpeed(engines), null, AtLeast: true),
        new("redis", "Redis under load, a snapshot every second for a minute: lost throughput", "%", 5, 1, () => RedisLoad.Run(engines).LostPercent, null),
        new("redis-pause", "the same: longest pause beyond that without snapshots", "ms", 10, 1, () => RedisLoad.Run(engines).PauseMs, null),
    ];

    private static Promise Live(string name, string title, long mib, string pages, string written, double goal, Engines engines) =>
        new(name, title, "ms", goal, 3, () => Frozen(engines, engines.Ours, mib, pages, written), () => Frozen(engines, engines.Peer, mib, pages, written));

    private static Promise Instant(string name, string title, long mib, string pages, Engines engines) =>
        new(name, title, "ms", 10, 3, () => FirstInstruction(engines, engines.Ours, mib, pages, "--lazy"), () => FirstInstruction(engines, engines.Peer, mib, pages));

    private static double Frozen(Engines engines, string engine, long mib, string pages, string written)
    {
        using var folder = new Machine.Folder();
        using var stamp = new Stamp(engines.StampProgram, folder.Path, mib, pages, written);
        Machine.Warm(mib * 5 / 4 << 20);
        string images = folder.Make("images");
        Engines.Run(engine, images, ["dump", "-R", "-t", $"{stamp.Pid}"]);
        return StatsFile.FrozenMilliseconds(Path.Combine(images, "stats-dump"));
    }

    private static double Incremental(Engines engines)
    {
        using var folder = new Machine.Folder();
        using var stamp = new Stamp(engines.StampProgram, folder.Path, 4096, "small", $"{PagesInPercentOf4GiB}");
        Machine.Warm(5L << 30);
        string second = folder.Make("second");
        Engines.Run(engines.Ours, folder.Make("first"), ["dump", "-R", "--track-mem", "-t", $"{stamp.Pid}"]);
        Thread.Sleep(1000);
        Engines.Run(engines.Ours, second, ["dump", "-R", "--track-mem", "--prev-images-dir", "../first", "-t", $"{stamp.Pid}"]);
        return StatsFile.FrozenMilliseconds(Path.Combine(second, "stats-dump"));
    }

    private static double FirstInstruction(Engines engines, string engine, long mib, string pages, params string[] options)
    {
        using var folder = new Machine.Folder();
        using var stamp = new Stamp(engines.StampProgram, folder.Path, mib, pages, "0");
        return Restored(engine, folder.Make("images"), stamp, mib, options).FirstMs;
    }

    // 16 GiB twice are more than the memory of many machines: the images lie on the disk of the temporary directory.
    private static double FirstInstruction16(Engines engines)
    {
        using var folder = new Machine.Folder();
        using var stamp = new Stamp(engines.StampProgram, folder.Path, 16384, "small", "0");
        string images = Directory.CreateTempSubdirectory("criu-pmem-bench.images.").FullName;
        try
        {
            return Restored(engines.Ours, images, stamp, 16384, ["--lazy"]).FirstMs;
        }
        finally
        {
            Directory.Delete(images, recursive: true);
        }
    }

    private static double Recycled(Engines engines)
    {
        using var folder = new Machine.Folder();
        using var stamp = new Stamp(engines.StampProgram, folder.Path, 1024, "small", "0");
        Machine.Warm(4L << 30);
        string images = folder.Make("images");
        for (int i = 0; i < 2; i++)
            Engines.Run(engines.Ours, images, ["dump", "-R", "--no-live", "--recycle", "-t", $"{stamp.Pid}"]);
        return Engines.Run(engines.Ours, images, ["dump", "--recycle", "-t", $"{stamp.Pid}"]);
    }

    private static double Fresh(Engines engines, string engine)
    {
        using var folder = new Machine.Folder();
        using var stamp = new Stamp(engines.StampProgram, folder.Path, 1024, "small", "0");
        Machine.Warm(4L << 30);
        return Engines.Run(engine, folder.Make("images"), ["dump", "-t", $"{stamp.Pid}"]);
    }

    private static double CopySpeed(Engines engines)
    {
        using var folder = new Machine.Folder();
        Machine.Warm(3L << 30);
        string answer = Path.Combine(folder.Path, "speed");
        (_, _, int exit) = Spawn.Run("/bin/sh", "-c", $"exec {engines.CopyProgram} 1024 {folder.Path}/copy >{answer}");
        if (exit != 0)
            throw new InvalidOperationException("copy failed");
        double best = double.Parse(File.ReadAllText(answer), System.Globalization.CultureInfo.InvariantCulture);
        using var stamp = new Stamp(engines.StampProgram, folder.Path, 1024, "small", "0");
        Machine.Warm(3L << 30);
        string images = folder.Make("images");
        Engines.Run(engines.Ours, images, ["dump", "-t", $"{stamp.Pid}"]);
        return (1L << 30) / StatsFile.CopyMilliseconds(Path.Combine(images, "stats-dump")) * 1000 / best * 100;
    }

    private static double DiskSpeed(Engines engines)
    {
        using var folder = new Machine.Folder();
        DirectoryInfo disk = Directory.CreateTempSubdirectory("criu-pmem-bench.disk.");
        try
        {
            string answer = Path.Combine(folder.Path, "speed");
            (_, _, int exit) = Spawn.Run("/bin/sh", "-c", $"exec {engines.DiskProgram} 1024 {disk.FullName}/file >{answer}");
            if (exit != 0)
                throw new InvalidOperationException("the temporary directory takes no 1 GiB past the page cache");
            double[] speeds = [.. File.ReadAllText(answer).Split(' ').Select(static word => double.Parse(word, System.Globalization.CultureInfo.InvariantCulture))];
            return speeds[1] / speeds[0] * 100;
        }
        finally
        {
            disk.Delete(recursive: true);
        }
    }

    private static double AllPages(Engines engines)
    {
        using var folder = new Machine.Folder();
        using var stamp = new Stamp(engines.StampProgram, folder.Path, 4096, "small", "0");
        (_, ulong begun) = Restored(engines.Ours, folder.Make("images"), stamp, 4096, "--lazy");
        Machine.Until(() => !Machine.IsRunning("criu-pmem-pager"));
        return (NowNs() - begun) / 1e6;
    }

    private static double EagerEnd(Engines engines)
    {
        using var folder = new Machine.Folder();
        using var stamp = new Stamp(engines.StampProgram, folder.Path, 4096, "small", "0");
        (_, ulong begun) = Restored(engines.Peer, folder.Make("images"), stamp, 4096);
        return (NowNs() - begun) / 1e6;
    }

    private static (double FirstMs, ulong BegunNs) Restored(string engine, string images, Stamp stamp, long mib, params string[] options)
    {
        if (mib <= 8192)
            Machine.Warm(mib * 5 / 4 << 20);
        Engines.Run(engine, images, ["dump", "-t", $"{stamp.Pid}"]);
        Machine.Until(() => Machine.InSession(stamp.Pid).Count == 0);
        if (mib <= 8192)
            Machine.Warm(mib << 20);
        ulong dumped = stamp.LastRan, begun = NowNs();
        Engines.Run(engine, images, ["restore", "-d", .. options]);
        Machine.Until(() => stamp.LastRan != dumped && stamp.LongestPause.EndNs > begun);
        return ((stamp.LongestPause.EndNs - begun) / 1e6, begun);
    }

    private static ulong NowNs() => (ulong)(DateTime.UtcNow - DateTime.UnixEpoch).Ticks * 100;
}
