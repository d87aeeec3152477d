namespace CriuPmem.Engine.Memory;

/// <summary>What pages are copied from.</summary>
internal enum CopySource
{
    /// <summary>A process that stands still: all of it can be read.</summary>
    Process,

    /// <summary>A process that runs: what is gone meanwhile is zeros.</summary>
    RunningProcess,

    /// <summary>A file: what its last page has beyond its end is zeros.</summary>
    File,
}
