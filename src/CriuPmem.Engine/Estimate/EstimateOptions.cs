namespace CriuPmem.Engine;

/// <summary>What to estimate.</summary>
public sealed class EstimateOptions : CommonOptions
{
    /// <summary>The root of the tree (--tree).</summary>
    public int Pid { get; set; }

    /// <summary>Deleted files up to this size would be saved (--ghost-limit).</summary>
    public long GhostLimitBytes { get; set; } = 1 << 20;

    /// <summary>The dump would make its images durable.</summary>
    public bool Sync { get; set; } = true;
}
