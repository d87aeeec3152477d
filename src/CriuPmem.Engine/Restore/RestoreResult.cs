namespace CriuPmem.Engine;

/// <summary>What a restore did.</summary>
public sealed record RestoreResult
{
    /// <summary>The root task's pid, as this process sees it.</summary>
    public int RootPid { get; init; }

    /// <summary>Processes restored.</summary>
    public int Processes { get; init; }

    /// <summary>Threads restored, leaders included.</summary>
    public int Threads { get; init; }

    /// <summary>Bytes of memory brought back.</summary>
    public long MemoryBytes { get; init; }

    /// <summary>Bytes of memory that come back while the tree runs (--lazy).</summary>
    public long LaterBytes { get; init; }

    /// <summary>The whole operation, in microseconds.</summary>
    public long TotalMicroseconds { get; init; }
}
