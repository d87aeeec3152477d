using CriuPmem.Images.Messages;

namespace CriuPmem.Images;

/// <summary>One page map as read.</summary>
/// <param name="Head">Names the pages file.</param>
/// <param name="Entries">The runs, in address order.</param>
internal sealed record Pagemap(PagemapHead Head, IReadOnlyList<PagemapEntry> Entries)
{
    /// <summary>The size of a page, in bytes.</summary>
    public const ulong PageBytes = 4096;

    /// <summary>Reads a page map.</summary>
    public static Pagemap Read(ImageReader reader)
    {
        PagemapHead head = reader.Read(PagemapHead.Parser);
        var entries = new List<PagemapEntry>();
        while (reader.TryRead(PagemapEntry.Parser, out PagemapEntry? entry)) entries.Add(entry);
        return new Pagemap(head, entries);
    }

    /// <summary>The pages of a run; older engines wrote only the 32-bit count.</summary>
    public static ulong PagesOf(PagemapEntry entry) => entry.HasNrPages ? entry.NrPages : entry.CompatNrPages;

    /// <summary>Where the pages of a run are; older engines wrote only whether they are in the parent.</summary>
    public static PageFlags FlagsOf(PagemapEntry entry)
    {
        if (entry.HasFlags) return (PageFlags)entry.Flags;
        return entry.InParent ? PageFlags.Parent : PageFlags.Present;
    }
}
