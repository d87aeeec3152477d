namespace CriuPmem.Engine;

/// <summary>A block device under a file system, and the devices that it is made of (device mapper).</summary>
public sealed record BlockDevice
{
    /// <summary>The kernel's name: pmem0, dm-0, vda1.</summary>
    public required string Name { get; init; }

    /// <summary>The name that device mapper (LVM) gives it; null for others.</summary>
    public string? MappedName { get; init; }

    /// <summary>Its size.</summary>
    public long SizeBytes { get; init; }

    /// <summary>Files of a file system on it can be mapped straight from it.</summary>
    public bool HasDax { get; init; }

    /// <summary>The namespace of persistent memory that it is: namespace0.0; null for what is no persistent memory.</summary>
    public string? Namespace { get; init; }

    /// <summary>How that is used: fsdax, raw or sector.</summary>
    public string? Mode { get; init; }

    /// <summary>
    /// What reaches the medium when the power fails, as the kernel says: cpu_cache (with what is in the CPU's caches, eADR),
    /// memory_controller (with what was flushed from them, ADR); null when it says nothing.
    /// </summary>
    public string? PersistenceDomain { get; init; }

    /// <summary>How many ranges of it are known to be damaged.</summary>
    public int BadRanges { get; init; }

    /// <summary>The devices that it is made of; none for what is a device itself.</summary>
    public IReadOnlyList<BlockDevice> MadeOf { get; init; } = [];

    /// <summary>Whether it, or all that it is made of, is persistent memory.</summary>
    public bool IsPersistentMemory => MadeOf.Count == 0 ? Namespace is not null : MadeOf.All(static part => part.IsPersistentMemory);
}
