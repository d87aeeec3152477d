namespace CriuPmem.Engine.Memory;

/// <summary>Which round of copying memory it is.</summary>
internal enum CopyRound
{
    /// <summary>Everything, while the process runs.</summary>
    First,

    /// <summary>What was written since the round before, while it runs.</summary>
    Next,

    /// <summary>What was written since, and what is gone, when it stands still.</summary>
    Last,
}
