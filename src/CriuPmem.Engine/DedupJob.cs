using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine;

/// <summary>Frees the pages of earlier snapshots that a later one of the chain has written anew (criu(8), dedup and --auto-dedup).</summary>
/// <remarks>Holes take their place (fallocate(2)): the earlier snapshots cannot be restored by themselves afterwards.</remarks>
public static class DedupJob
{
    /// <summary>Frees what the snapshot in a directory replaces; returns how many bytes.</summary>
    /// <param name="imagesDirectoryFd">The directory of the newest snapshot.</param>
    /// <param name="imagesDirectory">Its name for messages.</param>
    /// <param name="log">Where it tells what it does.</param>
    /// <exception cref="CheckpointException">The chain is damaged, or the file system has no holes.</exception>
    public static long Run(int imagesDirectoryFd, string imagesDirectory, EngineLog log)
    {
        using var alone = DirectoryLock.Take(imagesDirectoryFd, imagesDirectory, exclusive: true);
        return FreeEarlier(imagesDirectoryFd, imagesDirectory, log);
    }

    /// <summary>For --auto-dedup: the snapshot is whole, and stays so when earlier ones keep their pages.</summary>
    internal static void TryFreeEarlier(int imagesDirectoryFd, string imagesDirectory, EngineLog log)
    {
        try
        {
            FreeEarlier(imagesDirectoryFd, imagesDirectory, log);
        }
        catch (CheckpointException kept)
        {
            log.Warn("dedup", $"the snapshots before {imagesDirectory} keep their pages: {kept.Message}");
        }
    }

    private static long FreeEarlier(int imagesDirectoryFd, string imagesDirectory, EngineLog log)
    {
        var newest = new SnapshotReader(imagesDirectoryFd, imagesDirectory);
        using var chain = new SnapshotChain(newest);
        if (chain.Layers.Count == 1)
        {
            log.Info("dedup", $"{imagesDirectory} continues no other snapshot: nothing to do");
            return 0;
        }

        long freed = 0;
        foreach (long pid in Pids(newest))
        {
            using ImageReader? own = newest.OpenIfPresent(ImageKind.Pagemap, pid);
            using ImageReader? theirs = chain.Layers[1].OpenIfPresent(ImageKind.Pagemap, pid);
            if (own is null || theirs is null) continue;
            freed += Free(Pagemap.Read(own), chain.ResolveFrom(1, ImageKind.Pagemap, pid, Pagemap.Read(theirs)));
        }

        log.Info("dedup", $"{freed >> 10} KiB freed in the snapshots before {imagesDirectory}");
        return freed;
    }

    private static IEnumerable<long> Pids(SnapshotReader reader)
    {
        foreach (string name in reader.FileNames())
        {
            if (name.StartsWith("pagemap-", StringComparison.Ordinal) && name.EndsWith(".img", StringComparison.Ordinal) &&
                long.TryParse(name.AsSpan(8, name.Length - 12), System.Globalization.CultureInfo.InvariantCulture, out long pid))
            {
                yield return pid;
            }
        }
    }

    private static long Free(Pagemap own, SavedPages earlier)
    {
        var files = new int[earlier.Files.Count];
        Array.Fill(files, -1);
        long freed = 0;
        try
        {
            foreach (PagemapEntry entry in own.Entries)
            {
                if ((Pagemap.FlagsOf(entry) & PageFlags.Present) == 0) continue;
                ulong start = entry.Vaddr, end = start + Pagemap.PagesOf(entry) * Pagemap.PageBytes;
                for (int i = earlier.FirstAbove(start); i < earlier.Runs.Count && earlier.Runs[i].Start < end; i++)
                {
                    SavedRun run = earlier.Runs[i];
                    ulong from = Math.Max(start, run.Start), to = Math.Min(end, run.End);
                    if (earlier.Files[run.File].Compressed) continue; // its blocks hold other pages, too
                    Punch(earlier, files, run, from, to);
                    freed += (long)(to - from);
                }
            }
        }
        finally
        {
            foreach (int fd in files)
            {
                if (fd >= 0) Sys.Close(fd);
            }
        }

        return freed;
    }

    private static void Punch(SavedPages pages, int[] files, SavedRun run, ulong from, ulong to)
    {
        PagesSource source = pages.Files[run.File];
        if (files[run.File] < 0) files[run.File] = source.OpenToPunch();
        SysResult punched = ImageFileCalls.PunchHole(files[run.File], (long)(run.Offset + (from - run.Start)), (long)(to - from));
        if (!punched.Failed) return;
        throw new CheckpointException(ErrorCode.ImagesDirectory, "pages of an earlier snapshot cannot be freed")
        {
            Object = source.Name,
            Errno = punched.Errno,
            Remedy = punched.Errno == Errno.EOPNOTSUPP ? "This file system knows no holes in files: go on without --auto-dedup" : null,
        };
    }
}
