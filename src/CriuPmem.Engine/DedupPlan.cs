using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine;

/// <summary>Which pages of earlier snapshots can be freed: those that a later one has anew, and no process of it has from there.</summary>
internal sealed class DedupPlan
{
    private readonly Dictionary<PagesSource, List<(ulong Start, ulong End)>> _replaced = [], _needed = [];

    /// <summary>Pages that the later snapshot has from wherever they lie; several processes may have the same ones (--dedup-pages).</summary>
    public void Need(SavedPages pages)
    {
        foreach (SavedRun run in pages.Runs) Of(_needed, pages.Files[run.File]).Add((run.Offset, run.Offset + run.LengthBytes));
    }

    /// <summary>Pages of an earlier one in whose place the later one has its own.</summary>
    /// <param name="own">What the later one has of a process.</param>
    /// <param name="earlier">What the earlier one has of it.</param>
    public void Replace(Pagemap own, SavedPages earlier)
    {
        foreach (PagemapEntry entry in own.Entries)
        {
            if ((Pagemap.FlagsOf(entry) & PageFlags.Present) == 0) continue;
            foreach (SavedRun run in earlier.Slice(entry.Vaddr, entry.Vaddr + Pagemap.PagesOf(entry) * Pagemap.PageBytes))
            {
                PagesSource file = earlier.Files[run.File];
                if (!file.Compressed) Of(_replaced, file).Add((run.Offset, run.Offset + run.LengthBytes)); // its blocks hold other pages, too
            }
        }
    }

    /// <summary>Frees them; returns how many bytes.</summary>
    /// <param name="later">The later snapshot, for those who look for the pages.</param>
    /// <exception cref="CheckpointException">Somebody reads there, or the file system has no holes.</exception>
    public long Free(string later)
    {
        long freed = 0;
        foreach ((PagesSource file, List<(ulong Start, ulong End)> replaced) in _replaced) _replaced[file] = Without(replaced, Of(_needed, file));
        foreach (PagesSource file in _replaced.Keys.Where(file => _replaced[file].Count > 0)) Open(file).Dispose(); // all or nothing
        foreach ((PagesSource file, List<(ulong Start, ulong End)> free) in _replaced)
        {
            if (free.Count == 0) continue;
            using var alone = DirectoryLock.Take(file.Reader.DirectoryFd, file.Reader.DirectoryName, exclusive: true);
            using OwnedFd pages = Open(file);
            // On the medium first: whoever restores the earlier snapshot by itself must be told, whatever happens in between.
            SysResult noted = FreedPages.Note(pages.Fd, free, later);
            if (noted.Failed) throw Failure(file, "it cannot be noted that pages of an earlier snapshot are freed", noted.Errno);
            foreach ((ulong start, ulong end) in free)
            {
                SysResult punched = ImageFileCalls.PunchHole(pages.Fd, (long)start, (long)(end - start));
                if (punched.Failed) throw Failure(file, "pages of an earlier snapshot cannot be freed", punched.Errno);
                freed += (long)(end - start);
            }
        }

        return freed;
    }

    /// <summary>Opens a pages file to have holes made into it: the pages are gone under every name that it has.</summary>
    private static OwnedFd Open(PagesSource file)
    {
        var pages = new OwnedFd(file.OpenToPunch());
        if (Sys.Stat(pages.Fd, out FileStat stat).Failed || stat.st_nlink <= 1) return pages;
        pages.Dispose();
        throw new CheckpointException(ErrorCode.ImagesDirectory, "it has another name, perhaps that of a backup by hard links, whose pages would be freed with it")
        {
            Object = $"{file.Reader.DirectoryName}/{file.Name}",
            Remedy = "Nothing was freed. Remove the other name (find -samefile), or make this one a file of its own (cp it, and mv the copy over it).",
        };
    }

    private static List<(ulong Start, ulong End)> Of(Dictionary<PagesSource, List<(ulong Start, ulong End)>> files, PagesSource file)
    {
        if (!files.TryGetValue(file, out List<(ulong Start, ulong End)>? ranges)) files.Add(file, ranges = []);
        return ranges;
    }

    private static List<(ulong Start, ulong End)> Without(List<(ulong Start, ulong End)> ranges, List<(ulong Start, ulong End)> needed)
    {
        ranges.Sort();
        needed.Sort();
        var rest = new List<(ulong Start, ulong End)>(ranges.Count);
        int first = 0;
        ulong done = 0; // up to here: several processes may replace the same pages
        foreach ((ulong start, ulong end) in ranges)
        {
            ulong at = Math.Max(start, done);
            while (first < needed.Count && needed[first].End <= at) first++;
            for (int i = first; i < needed.Count && needed[i].Start < end && at < end; i++)
            {
                if (needed[i].Start > at) rest.Add((at, needed[i].Start));
                at = Math.Max(at, needed[i].End);
            }

            if (at < end) rest.Add((at, end));
            done = Math.Max(done, end);
        }

        return rest;
    }

    private static CheckpointException Failure(PagesSource file, string what, Errno errno) => new(ErrorCode.ImagesDirectory, what)
    {
        Object = $"{file.Reader.DirectoryName}/{file.Name}",
        Errno = errno,
        Remedy = errno switch
        {
            Errno.EOPNOTSUPP => "This file system knows no holes in files: go on without --auto-dedup.",
            Errno.ENOSPC or Errno.EDQUOT => "A note of a few KiB needs room first: free some there.",
            _ => null,
        },
    };
}
