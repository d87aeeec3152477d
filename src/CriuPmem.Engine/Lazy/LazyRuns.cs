using CriuPmem.Images;

namespace CriuPmem.Engine.Lazy;

/// <summary>What of a process is filled while it runs, when a lazy-pages daemon does it: what its page map marks so, no more and no less.</summary>
/// <remarks>Restore and daemon may be different engines; both have to see the same pages in the images.</remarks>
internal static class LazyRuns
{
    /// <summary>The pages, wherever their contents are, in ascending order.</summary>
    public static List<(ulong Start, ulong End)> Of(SavedPages pages)
    {
        List<(ulong Start, ulong End)> all =
        [
            .. pages.Runs.Where(static run => (run.Flags & PageFlags.Lazy) != 0).Select(static run => (run.Start, run.End)),
            .. pages.Absent,
        ];
        all.Sort();
        return all;
    }
}
