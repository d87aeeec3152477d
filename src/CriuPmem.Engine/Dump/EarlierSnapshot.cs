using CriuPmem.Engine.Memory;
using CriuPmem.Engine.Transfer;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Dump;

/// <summary>The snapshot that a new one continues (--prev-images-dir): what pages it has, and who has tracked them since.</summary>
internal sealed class EarlierSnapshot : IDisposable
{
    private readonly OwnedFd _directory;
    private readonly SnapshotReader _reader;
    private readonly SnapshotChain _chain;

    private EarlierSnapshot(OwnedFd directory, string name)
    {
        _directory = directory;
        _reader = new SnapshotReader(directory.Fd, name);
        _chain = new SnapshotChain(_reader);
        var inventory = _reader.ReadSingle<InventoryEntry>(ImageKind.Inventory);
        Tracking = inventory.Tracking;
        RunId = inventory.DumpCriuRunId;
        IsCompressed = inventory.ImgVersion == CompressedPagesFormat.InventoryVersion;
    }

    /// <summary>Its directory, which stays its own.</summary>
    public int DirectoryFd => _directory.Fd;

    /// <summary>Its pages are compressed, or those of one that it continues.</summary>
    public bool IsCompressed { get; }

    /// <summary>What tells it from every other snapshot; empty when it does not say.</summary>
    public string RunId { get; }

    /// <summary>Who holds the trackers; null when nobody does.</summary>
    public TrackingEntry? Tracking { get; }

    /// <summary>Opens the one that the user named; null when none was named.</summary>
    /// <exception cref="CheckpointException">It is not complete, or is the directory of the new one.</exception>
    public static EarlierSnapshot? Open(DumpOptions options)
    {
        if (options.PreviousImages is not { } path) return null;
        SysResult opened = Sys.OpenAt(options.ImagesDirectoryFd, path, O_RDONLY | O_DIRECTORY);
        if (opened.Failed)
        {
            throw new CheckpointException(ErrorCode.ImagesDirectory, "the directory of the snapshot before cannot be opened")
            {
                Object = path,
                Errno = opened.Errno,
                Remedy = "Give --prev-images-dir as seen from the images directory (-D), ../first for example",
            };
        }

        var directory = new OwnedFd(opened.Value);
        try
        {
            RequireElsewhere(options, new SnapshotReader(directory.Fd, path));
            var earlier = new EarlierSnapshot(directory, path);
            foreach (SnapshotReader layer in earlier._chain.Layers) RequireElsewhere(options, layer);
            return earlier;
        }
        catch
        {
            directory.Dispose();
            throw;
        }
    }

    /// <summary>The new snapshot takes the place of what is in its directory: that may be nothing which it continues.</summary>
    private static void RequireElsewhere(DumpOptions options, SnapshotReader continued)
    {
        if (!continued.IsSameDirectory(new SnapshotReader(options.ImagesDirectoryFd, options.ImagesDirectory))) return;
        throw new CheckpointException(ErrorCode.Usage, continued.DirectoryName == options.PreviousImages
            ? "a snapshot cannot continue the one in its own directory"
            : $"a snapshot cannot take the place of one that it continues, as {options.PreviousImages} does: neither could be restored")
        {
            Object = continued.DirectoryName,
            Remedy = "Give every snapshot of a chain a directory of its own (-D)",
        };
    }

    /// <summary>Takes the trackers over for the processes of a tree; tells of those without one.</summary>
    public void TakeTrackers(FrozenTree tree, EngineLog log)
    {
        Dictionary<int, WriteTracker> trackers = TrackingHolder.Take(Tracking, tree.Processes);
        foreach (DumpProcess process in tree.Processes)
        {
            if (process.IsZombie) continue;
            process.Tracker = trackers.GetValueOrDefault(process.Pid);
            if (process.Tracker is null) log.Info("memory", $"{process}: nobody has tracked its memory since the snapshot before; all of it is saved");
        }
    }

    /// <summary>The pages that the earlier snapshot has of a process, as long as it is known which are still the same.</summary>
    public SavedPages? PagesOf(DumpProcess process)
    {
        if (process.Tracker is null) return null;
        using ImageReader? image = _reader.OpenIfPresent(ImageKind.Pagemap, process.Pid);
        if (image is not null) return _chain.ResolveKept(0, ImageKind.Pagemap, process.Pid, Pagemap.Read(image));
        using ImageReader? sent = _reader.OpenIfPresent(ImageKind.SentPagemap, process.Pid);
        return sent is null ? null : SentPagemap.Read(sent);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _chain.Dispose();
        _directory.Dispose();
    }
}
