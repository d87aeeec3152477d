namespace CriuPmem.Images;

/// <summary>Where a run of pages is (<c>pagemap_entry.flags</c>).</summary>
[Flags]
internal enum PageFlags : uint
{
    /// <summary>Nowhere: the run says only that the pages belong to the process.</summary>
    None = 0,

    /// <summary>In the parent snapshot.</summary>
    Parent = 1 << 0,

    /// <summary>May be filled after the program runs again.</summary>
    Lazy = 1 << 1,

    /// <summary>In the pages file, next in its order.</summary>
    Present = 1 << 2,
}
