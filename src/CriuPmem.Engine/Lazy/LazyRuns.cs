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

    /// <summary>Refuses a restore without a daemon of a snapshot that has not all of its memory.</summary>
    /// <exception cref="CheckpointException">Some of it stayed with the dump.</exception>
    public static void RequireNone(SnapshotContents contents)
    {
        foreach ((uint pid, Pagemap map) in contents.Pagemaps)
        {
            if (!map.Entries.Any(static entry => Pagemap.FlagsOf(entry) == PageFlags.Lazy)) continue;
            throw new CheckpointException(ErrorCode.ImageMissing, "its memory is not in the images: it was left with the dump (dump --lazy-pages)")
            {
                Pid = (int)pid,
                Remedy = "Start lazy-pages with --page-server, --address and --port of that dump, and restore with --lazy-pages",
            };
        }
    }
}
