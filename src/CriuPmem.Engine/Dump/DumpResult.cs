namespace CriuPmem.Engine;

/// <summary>What a dump did.</summary>
public sealed record DumpResult
{
    /// <summary>Processes saved.</summary>
    public int Processes { get; init; }

    /// <summary>Threads saved, leaders included.</summary>
    public int Threads { get; init; }

    /// <summary>Bytes of memory written.</summary>
    public long MemoryBytes { get; init; }

    /// <summary>Time until every task stood still, in microseconds.</summary>
    public long FreezingMicroseconds { get; init; }

    /// <summary>Time the tree stood still, in microseconds.</summary>
    public long FrozenMicroseconds { get; init; }

    /// <summary>The whole operation, in microseconds.</summary>
    public long TotalMicroseconds { get; init; }
}
