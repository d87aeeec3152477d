namespace CriuPmem.SystemTests;

/// <summary>Who dumps and who restores. The names are those of not-yet.txt and of the tests.</summary>
internal sealed record Direction(string Name, Engine Dumps, Engine Restores, bool LeaveRunning = false)
{
    public static IReadOnlyList<Direction> All { get; } =
    [
        new("ours", Engine.Ours, Engine.Ours),
        new("ours-leave-running", Engine.Ours, Engine.Ours, LeaveRunning: true),
        new("ours-to-peer", Engine.Ours, Engine.Peer),
        new("peer-to-ours", Engine.Peer, Engine.Ours),
        new("peer", Engine.Peer, Engine.Peer),
    ];

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
