using CriuPmem.Images;

namespace CriuPmem.Engine;

/// <summary>Frees the pages of earlier snapshots that a later one of the chain has written anew (criu(8), dedup and --auto-dedup).</summary>
/// <remarks>Holes take their place (fallocate(2)): the earlier snapshots cannot be restored by themselves afterwards, and <see cref="FreedPages"/> says so in them.</remarks>
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
        if (!Pids(newest).Any() && newest.LengthOf(ImageKind.Inventory) < 0) newest.Open(ImageKind.Inventory).Dispose(); // which says what is wrong
        using var chain = new SnapshotChain(newest);
        if (chain.Layers.Count == 1)
        {
            log.Info("dedup", $"{imagesDirectory} continues no other snapshot: nothing to do");
            return 0;
        }

        var plan = new DedupPlan();
        foreach (long pid in Pids(newest))
        {
            using ImageReader own = newest.Open(ImageKind.Pagemap, pid);
            Pagemap map = Pagemap.Read(own);
            plan.Need(chain.Resolve(ImageKind.Pagemap, pid, map));
            using ImageReader? theirs = chain.Layers[1].OpenIfPresent(ImageKind.Pagemap, pid);
            if (theirs is not null) plan.Replace(map, chain.ResolveKept(1, ImageKind.Pagemap, pid, Pagemap.Read(theirs)));
        }

        long freed = plan.Free(imagesDirectory);
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
}
