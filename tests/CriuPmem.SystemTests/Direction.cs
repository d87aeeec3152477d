namespace CriuPmem.SystemTests;

/// <summary>Who dumps and who restores. The names are those of not-yet.txt and of the tests.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Dumps">Who dumps.</param>
/// <param name="Restores">Who restores.</param>
/// <param name="LeaveRunning">The tree goes on after the dump.</param>
/// <param name="PreDumps">Snapshots of the memory before, each of which the next one continues; with <paramref name="Live"/> whole snapshots.</param>
/// <param name="Lazy">Memory comes back while the restored tree runs.</param>
/// <param name="Compress">How saved pages are compressed; null when they are not.</param>
/// <param name="Live">The memory is copied while the tree runs; what was saved is restored when the tree is gone.</param>
/// <param name="Twins">Memory is saved from twins while the tree runs on; it is killed before the snapshot is restored.</param>
internal sealed record Direction(string Name, Engine Dumps, Engine Restores, bool LeaveRunning = false, int PreDumps = 0, bool Live = false, bool Lazy = false,
    string? Compress = null, bool Twins = false)
{
    public static IReadOnlyList<Direction> All { get; } =
    [
        new("ours", Engine.Ours, Engine.Ours),
        new("ours-leave-running", Engine.Ours, Engine.Ours, LeaveRunning: true),
        new("ours-incremental", Engine.Ours, Engine.Ours, PreDumps: 3),
        new("ours-live", Engine.Ours, Engine.Ours, Live: true),
        new("ours-live-incremental", Engine.Ours, Engine.Ours, PreDumps: 3, Live: true),
        new("ours-twins", Engine.Ours, Engine.Ours, Twins: true),
        new("ours-lazy", Engine.Ours, Engine.Ours, Lazy: true),
        new("ours-compressed", Engine.Ours, Engine.Ours, Compress: "lz4"),
        new("ours-compressed-incremental", Engine.Ours, Engine.Ours, PreDumps: 2, Compress: "zstd"),
        new("ours-compressed-live", Engine.Ours, Engine.Ours, Live: true, Lazy: true, Compress: "zstd:1"),
        new("ours-to-peer", Engine.Ours, Engine.Peer),
        new("ours-incremental-to-peer", Engine.Ours, Engine.Peer, PreDumps: 2),
        new("ours-live-incremental-to-peer", Engine.Ours, Engine.Peer, PreDumps: 1, Live: true),
        new("peer-to-ours", Engine.Peer, Engine.Ours),
        new("peer", Engine.Peer, Engine.Peer),
    ];

    /// <summary>The direction without what is special about this one: what is known of that holds here, too.</summary>
    public string Plain => (PreDumps > 0, Live || Lazy || Twins || Compress is not null, Restores == Engine.Peer) switch
    {
        (true, _, true) => "ours-to-peer",
        (true, _, _) or (_, true, _) => "ours",
        _ => Name,
    };

    /// <summary>
    /// True when the direction has something to show of a subject: ways of saving memory are shown with workloads that use
    /// it, and with three servers under load (but for twins: what those write to files after the snapshot is not undone).
    /// </summary>
    public bool Applies(string subject) => Plain == Name || Array.Exists(
        (string[])(Twins ? ["mem_", "tree_", "threads_"] : ["mem_", "tree_", "threads_", "prog_redis", "prog_mariadb", "prog_java"]), prefix => subject.StartsWith(prefix, StringComparison.Ordinal));

    public bool UsesPeer => Dumps == Engine.Peer || Restores == Engine.Peer;

    /// <summary>The directions this run was asked for.</summary>
    public static IEnumerable<Direction> Asked => All.Where(direction => Machine.PeerMode switch
    {
        "0" or "" => !direction.UsesPeer,
        "only" => direction.Name == "peer",
        "self" => true,
        _ => direction.Name != "peer",
    });

    public static Direction Named(string name) => All.Single(direction => direction.Name == name);
}
