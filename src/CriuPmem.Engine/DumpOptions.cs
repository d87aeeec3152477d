namespace CriuPmem.Engine;

/// <summary>What to dump, and how.</summary>
public sealed class DumpOptions : CommonOptions
{
    /// <summary>The root of the tree (--tree).</summary>
    public int Pid { get; set; }

    /// <summary>What becomes of the tree afterwards.</summary>
    public FinalState FinalState { get; set; } = FinalState.Killed;

    /// <summary>Deleted files up to this size are saved, in bytes (--ghost-limit).</summary>
    public long GhostLimitBytes { get; set; } = 1 << 20;

    /// <summary>Datagram sockets may be connected to UNIX sockets outside of the tree (--ext-unix-sk).</summary>
    public bool ExternalUnixSockets { get; set; }

    /// <summary>Sync images to the medium before success is reported (on by default).</summary>
    public bool Sync { get; set; } = true;
}
