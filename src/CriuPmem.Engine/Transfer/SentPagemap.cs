using CriuPmem.Engine.Memory;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Transfer;

/// <summary>Which pages of a process went to a page server: sent-PID.img beside the other images of the dump.</summary>
/// <remarks>
/// The page maps are on the server. What it can be told to take from its parent has to be known here, for the next
/// snapshot of the chain; the peer assumes it.
/// </remarks>
internal static class SentPagemap
{
    /// <summary>Writes it.</summary>
    public static void Write(SnapshotWriter snapshot, int pid, PagePlan plan)
    {
        using var map = new PagemapWriter(snapshot, ImageKind.SentPagemap, pid, 0);
        foreach (PageRun run in plan.Runs) map.Add(run.Start, run.LengthBytes / PageSize, (PageFlags)run.Flags);
    }

    /// <summary>All pages that the server has in this snapshot or one before it; where, only it knows.</summary>
    public static SavedPages Read(ImageReader image)
    {
        var runs = new List<SavedRun>();
        ulong last = 0;
        foreach (PagemapEntry entry in Pagemap.Read(image).Entries)
        {
            var run = new SavedRun(entry.Vaddr, Pagemap.PagesOf(entry) * PageSize, Pagemap.FlagsOf(entry), 0, 0);
            if (run.Start < last || run.End < run.Start) throw image.Damaged($"0x{run.Start:x} is out of order");
            last = run.End;
            runs.Add(run);
        }

        return new SavedPages([], runs);
    }
}
