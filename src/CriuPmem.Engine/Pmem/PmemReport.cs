using CriuPmem.Engine.Check;

namespace CriuPmem.Engine;

/// <summary>What a directory offers to snapshots.</summary>
public sealed record PmemReport
{
    /// <summary>The file system: ext4, xfs, tmpfs, ….</summary>
    public required string FileSystem { get; init; }

    /// <summary>Where it is mounted.</summary>
    public required string MountPoint { get; init; }

    /// <summary>How: options with commas between them.</summary>
    public required string MountOptions { get; init; }

    /// <summary>What the directory's files lie on.</summary>
    public PersistentMemoryKind Kind { get; init; }

    /// <summary>Mappings of files can be made durable by flushing caches alone (MAP_SYNC, mmap(2)); null when that cannot be tried.</summary>
    public bool? HasMapSync { get; init; }

    /// <summary>The device below; null for what has none, and where the kernel does not tell (btrfs).</summary>
    public BlockDevice? Device { get; init; }

    /// <summary>How fast memory goes into it, in bytes per second; null when nothing can be written there, as for the two below.</summary>
    public long? WriteRate { get; init; }

    /// <summary>How fast until it is durable, in bytes per second.</summary>
    public long? DurableRate { get; init; }

    /// <summary>How fast it comes back, in bytes per second, when it is still in the page cache.</summary>
    public long? ReadRate { get; init; }

    /// <summary>What a dump does there.</summary>
    public required string Dump { get; init; }

    /// <summary>What would make it better; null when nothing is to be said.</summary>
    public string? Advice { get; init; }
}
