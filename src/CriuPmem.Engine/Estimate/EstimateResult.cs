namespace CriuPmem.Engine;

/// <summary>What a dump of a tree would cost, without doing it.</summary>
public sealed record EstimateResult
{
    /// <summary>Processes of the tree.</summary>
    public int Processes { get; init; }

    /// <summary>Their threads.</summary>
    public int Threads { get; init; }

    /// <summary>Their mappings.</summary>
    public int Mappings { get; init; }

    /// <summary>Their open descriptors.</summary>
    public int Descriptors { get; init; }

    /// <summary>Bytes of pages that would be saved.</summary>
    public long MemoryBytes { get; init; }

    /// <summary>Bytes of all images.</summary>
    public long SnapshotBytes { get; init; }

    /// <summary>Free bytes in the images directory.</summary>
    public long FreeBytes { get; init; }

    /// <summary>How long a dump would take, in microseconds.</summary>
    public long DumpMicroseconds { get; init; }

    /// <summary>How long it would take when the tree is left running (-R), in microseconds.</summary>
    public long DumpRunningMicroseconds { get; init; }

    /// <summary>How long the tree would stand still in it, in microseconds.</summary>
    public long FrozenMicroseconds { get; init; }

    /// <summary>How long it would stand still with -R, in microseconds.</summary>
    public long FrozenRunningMicroseconds { get; init; }

    /// <summary>How long a restore would take, in microseconds.</summary>
    public long RestoreMicroseconds { get; init; }

    /// <summary>How fast memory goes into the images directory, in bytes per second.</summary>
    public long BytesPerSecond { get; init; }
}
