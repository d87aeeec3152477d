using CriuPmem.Images.Messages;

namespace CriuPmem.Images;

/// <summary>One page map as read.</summary>
/// <param name="Head">Names the pages file.</param>
/// <param name="Entries">The runs, in address order.</param>
internal sealed record Pagemap(pagemap_head Head, IReadOnlyList<pagemap_entry> Entries)
{
    /// <summary>Reads a page map.</summary>
    public static Pagemap Read(ImageReader reader)
    {
        pagemap_head head = reader.Read(pagemap_head.Parser);
        var entries = new List<pagemap_entry>();
        while (reader.TryRead(pagemap_entry.Parser, out pagemap_entry? entry)) entries.Add(entry);
        return new Pagemap(head, entries);
    }

    /// <summary>The pages of a run; older engines wrote only the 32-bit count.</summary>
    public static ulong PagesOf(pagemap_entry entry) => entry.HasNrPages ? entry.NrPages : entry.CompatNrPages;

    /// <summary>Where the pages of a run are; older engines wrote only whether they are in the parent.</summary>
    public static PageFlags FlagsOf(pagemap_entry entry)
    {
        if (entry.HasFlags) return (PageFlags)entry.Flags;
        return entry.InParent ? PageFlags.Parent : PageFlags.Present;
    }
}
