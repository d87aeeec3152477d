namespace CriuPmem.Bench;

/// <summary>One row of the second table: something that is not the time of one command.</summary>
/// <param name="Name">Its name on the command line.</param>
/// <param name="Title">Its name in the table.</param>
/// <param name="Unit">"ms", "%".</param>
/// <param name="Goal">What was wanted, in the unit.</param>
/// <param name="Repeats">Runs of each engine.</param>
/// <param name="Ours">Measures criu-pmem once.</param>
/// <param name="Peer">Measures the peer once; null where it has nothing of the kind.</param>
internal sealed record Promise(string Name, string Title, string Unit, double Goal, int Repeats, Func<double> Ours, Func<double>? Peer)
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
        new("instant4-all", "4 GiB instant restore: command to last page", "ms", double.NaN, 3, () => AllPages(engines), () => EagerEnd(engines)),
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
        return Restored(engines, engine, folder, stamp, mib, options).FirstMs;
    }

    private static double AllPages(Engines engines)
    {
        using var folder = new Machine.Folder();
        using var stamp = new Stamp(engines.StampProgram, folder.Path, 4096, "small", "0");
        (_, ulong begun) = Restored(engines, engines.Ours, folder, stamp, 4096, "--lazy");
        Machine.Until(() => !Machine.IsRunning("criu-pmem-pager"));
        return (NowNs() - begun) / 1e6;
    }

    private static double EagerEnd(Engines engines)
    {
        using var folder = new Machine.Folder();
        using var stamp = new Stamp(engines.StampProgram, folder.Path, 4096, "small", "0");
        (_, ulong begun) = Restored(engines, engines.Peer, folder, stamp, 4096);
        return (NowNs() - begun) / 1e6;
    }

    private static (double FirstMs, ulong BegunNs) Restored(Engines engines, string engine, Machine.Folder folder, Stamp stamp, long mib, params string[] options)
    {
        string images = folder.Make("images");
        Machine.Warm(mib * 5 / 4 << 20);
        Engines.Run(engine, images, ["dump", "-t", $"{stamp.Pid}"]);
        Machine.Until(() => Machine.InSession(stamp.Pid).Count == 0);
        Machine.Warm(mib << 20);
        ulong dumped = stamp.LastRan, begun = NowNs();
        Engines.Run(engine, images, ["restore", "-d", .. options]);
        Machine.Until(() => stamp.LastRan != dumped && stamp.LongestPause.EndNs > begun);
        return ((stamp.LongestPause.EndNs - begun) / 1e6, begun);
    }

    private static ulong NowNs() => (ulong)(DateTime.UtcNow - DateTime.UnixEpoch).Ticks * 100;
}
