using CriuPmem.Images.Messages;
using CriuPmem.Kernel;
using Google.Protobuf;

namespace CriuPmem.Images;

/// <summary>Writes one snapshot into a directory: all its images, then, as the last, the inventory.</summary>
/// <remarks>
/// <c>Begin</c>, any number of files, then <c>Commit</c> and <c>Keep</c>, or <c>Abandon</c>. inventory.img is there only
/// while a set is complete, at any instant and also after a power cut. A complete snapshot that the directory holds
/// already stays until the new one is (<see cref="SnapshotSwap"/>). Creating files is thread-safe; one file is not.
/// </remarks>
internal sealed class SnapshotWriter
{
    private const string ParentLink = "parent";
    internal const string NewInventory = "inventory.img.new";

    private const int FilesToSyncSingly = 16;

    private readonly int _directoryFd;
    private readonly string _directoryName;
    private readonly List<string> _created = [];
    private readonly Lock _lock = new();
    private readonly RecycledFiles _recycled;
    private SnapshotSwap? _swap;
    private bool _published;

    /// <summary>Makes a writer; touches nothing yet.</summary>
    /// <param name="directoryFd">The images directory; stays the caller's.</param>
    /// <param name="directoryName">Its name for messages.</param>
    public SnapshotWriter(int directoryFd, string directoryName)
    {
        _directoryFd = directoryFd;
        _directoryName = directoryName;
        _recycled = new RecycledFiles(directoryFd);
    }

    /// <summary>Pages files of the snapshot that this one replaces are kept, and those that were kept are written again.</summary>
    public bool Recycle { get; init; }

    /// <summary>The files made so far, in order.</summary>
    public IReadOnlyList<string> CreatedFiles => _created;

    /// <summary>Clears up what a dump left that was cut off, and makes room for the new set.</summary>
    /// <param name="sync">False leaves it to the kernel when anything reaches the medium (--no-sync).</param>
    public void Begin(bool sync = true)
    {
        SnapshotSwap.Recover(_directoryFd, sync, Failure);
        _swap = SnapshotSwap.TryBegin(_directoryFd, sync, Failure);
        if (_swap is not null) return;
        ImageFileCalls.Unlink(_directoryFd, NewInventory);
        ImageFileCalls.Unlink(_directoryFd, ImageKind.HotPages.FileName());
        ImageFileCalls.Unlink(_directoryFd, ParentLink); // of a set without inventory; a directory of that name stays
        SnapshotSwap.Remove(_directoryFd, SnapshotSwap.Common);
    }

    /// <summary>Says which snapshot this one continues.</summary>
    /// <param name="path">Its directory, as seen from this one.</param>
    public void LinkParent(string path)
    {
        SysResult linked = ImageFileCalls.MakeLink(path, TargetFd, ParentLink);
        if (linked.Failed) throw Failure("create", ParentLink, linked.Errno);
        lock (_lock) _created.Add(ParentLink);
    }

    /// <summary>Makes a snapshot of its own, inside of this one and continued by it, for pages that several processes have.</summary>
    /// <param name="directoryFd">Its directory, which the caller owns.</param>
    public SnapshotWriter BeginCommon(out int directoryFd)
    {
        SysResult made = Sys.MakeDirectory(TargetFd, SnapshotSwap.Common, 0x1C0 /* 0700 */);
        if (made.Failed) throw Failure("make", SnapshotSwap.Common, made.Errno);
        lock (_lock) _created.Add(SnapshotSwap.Common);
        SysResult opened = ImageFileCalls.OpenDirectory(TargetFd, SnapshotSwap.Common);
        if (opened.Failed) throw Failure("open", SnapshotSwap.Common, opened.Errno);
        directoryFd = opened.Value;
        LinkParent(SnapshotSwap.Common);
        return new SnapshotWriter(directoryFd, $"{_directoryName}/{SnapshotSwap.Common}");
    }

    /// <summary>Starts an image. Its entries are in the file when the writer is disposed.</summary>
    /// <param name="kind">The kind; not a raw one.</param>
    /// <param name="id">The number in its name.</param>
    public ImageWriter Create(ImageKind kind, long id = 0)
    {
        string name = kind.FileName(id);
        return new ImageWriter(this, kind, name, Open(name, truncate: true, readable: false));
    }

    /// <summary>Writes an image of one entry with one write call.</summary>
    public void WriteSingle(ImageKind kind, long id, IMessage entry)
    {
        using ImageWriter image = Create(kind, id);
        image.Add(entry);
    }

    /// <summary>Opens a file that the caller fills and closes: pages, ghost contents.</summary>
    /// <param name="kind">The kind.</param>
    /// <param name="id">The number in its name.</param>
    /// <param name="truncate">False keeps the file's old blocks, to be overwritten.</param>
    /// <returns>A descriptor for reading and writing that the caller owns.</returns>
    public int OpenRaw(ImageKind kind, long id, bool truncate) => Open(kind.FileName(id), truncate, readable: true);

    /// <summary>Opens a pages file, or one of a replaced snapshot in its place.</summary>
    /// <param name="pagesId">Its number.</param>
    /// <param name="lengthBytes">How long it will be.</param>
    /// <returns>A descriptor for reading and writing that the caller owns.</returns>
    public int OpenPages(uint pagesId, long lengthBytes)
    {
        string name = ImageKind.Pages.FileName(pagesId);
        int recycled = Recycle && lengthBytes > 0 ? _recycled.TryTake(TargetFd, name, lengthBytes) : -1;
        if (recycled < 0) return OpenRaw(ImageKind.Pages, pagesId, truncate: true);
        lock (_lock) _created.Add(name);
        return recycled;
    }

    /// <summary>Completes the snapshot: everything durable, then the inventory.</summary>
    /// <param name="inventory">Its one entry.</param>
    /// <param name="sync">False leaves it to the kernel when the bytes reach the medium (--no-sync).</param>
    public void Commit(InventoryEntry inventory, bool sync)
    {
        if (sync) SyncContents();
        Interruption.Check();
        int fd = Open(NewInventory, truncate: true, readable: false);
        using (var image = new ImageWriter(this, ImageKind.Inventory, NewInventory, fd)) image.Add(inventory);
        if (sync) SyncFile(NewInventory);

        string name = ImageKind.Inventory.FileName();
        lock (_lock) _created.Remove(NewInventory);
        if (_swap is not null)
        {
            _swap.Publish(NewInventory);
        }
        else
        {
            SysResult renamed = ImageFileCalls.Rename(_directoryFd, NewInventory, _directoryFd, name);
            if (renamed.Failed) throw Failure("rename", NewInventory, renamed.Errno);
            if (sync) SyncDirectory();
        }

        _published = true;
        lock (_lock) _created.Add(name);
    }

    /// <summary>The files made so far stay, durably, though they are no snapshot: an inventory comes from elsewhere.</summary>
    /// <param name="sync">False leaves it to the kernel when the bytes reach the medium (--no-sync).</param>
    public void KeepPart(bool sync)
    {
        if (sync) SyncContents();
        if (sync) SyncDirectory();
        lock (_lock) _created.Clear();
        _published = true;
    }

    /// <summary>Removes a file that was made, and is not needed after all.</summary>
    public void Remove(ImageKind kind, long id)
    {
        string name = kind.FileName(id);
        ImageFileCalls.Unlink(TargetFd, name);
        lock (_lock) _created.Remove(name);
    }

    /// <summary>From here on the snapshot stays, whatever fails; what it replaced can go.</summary>
    /// <returns>Removes the files that were replaced, which may take a while.</returns>
    public Action Keep()
    {
        SnapshotSwap? swap = _swap;
        _swap = null;
        lock (_lock) _created.Clear();
        return () =>
        {
            _recycled.Clear(); // what was not used
            swap?.Drop(Recycle ? _recycled : null);
        };
    }

    /// <summary>
    /// Removes every file that was made, the inventory first, and brings back the snapshot that was there before. Does
    /// nothing the second time.
    /// </summary>
    public void Abandon()
    {
        lock (_lock)
        {
            if (_swap is not null)
            {
                UndoSwap();
            }
            else
            {
                if (!_published) ImageFileCalls.Unlink(_directoryFd, NewInventory);
                for (int i = _created.Count - 1; i >= 0; i--) SnapshotSwap.Remove(_directoryFd, _created[i]);
            }

            _swap = null;
            _created.Clear();
        }
    }

    /// <summary>A failure of a call on one of the files, in words; space and quota are told with their numbers.</summary>
    internal CheckpointException Failure(
        string action, string fileName, Errno errno, long lengthBytes, long offsetBytes = 0)
    {
        string path = $"{_directoryName}/{fileName}";
        if (errno == Errno.EFBIG)
        {
            return new CheckpointException(ErrorCode.NoSpace, $"cannot {action} the image: files may not grow so large")
            {
                Object = path,
                Errno = errno,
                Remedy = "Raise the limit on the size of files (ulimit -f), or choose a file system that takes larger ones (-D).",
            };
        }

        if (errno is Errno.ENOSPC or Errno.EDQUOT)
        {
            string space = ImageFileCalls.TryGetSpace(_directoryFd, out long free, out long total)
                ? $"; of {total} bytes on that file system {free} are free"
                : "";
            return new CheckpointException(
                ErrorCode.NoSpace, $"no space left to {action} {lengthBytes} bytes at {offsetBytes}{space}")
            {
                Object = path,
                Errno = errno,
                Remedy = errno == Errno.EDQUOT
                    ? "Raise the quota, or choose another images directory (-D)."
                    : "Free some space there, or choose another images directory (-D).",
            };
        }

        return new CheckpointException(ErrorCode.ImagesDirectory, $"cannot {action} the image")
        {
            Object = path,
            Errno = errno,
            Remedy = errno switch
            {
                Errno.EACCES or Errno.EROFS or Errno.EPERM => "Choose an images directory that can be written to (-D).",
                Errno.ELOOP => "A symbolic link has the name of an image: remove it, or choose another images directory (-D).",
                Errno.EINVAL or Errno.ENXIO or Errno.EISDIR when action == "create" =>
                    "Something that is no regular file has the name of an image: remove it, or choose another images directory (-D).",
                Errno.ENOENT => "The images directory was removed: make it anew, or choose another one (-D).",
                Errno.EEXIST => "Remove it, or choose another images directory (-D).",
                _ => null,
            },
        };
    }

    private int TargetFd => _swap?.NewFd ?? _directoryFd;

    private CheckpointException Failure(string action, string fileName, Errno errno) => Failure(action, fileName, errno, 0);

    private void UndoSwap()
    {
        try
        {
            _swap!.Undo(_created);
        }
        catch (CheckpointException)
        {
            // The failure that led here is the one to tell; the next dump or restore puts the directory in order.
        }
    }

    private int Open(string name, bool truncate, bool readable)
    {
        SysResult opened = ImageFileCalls.OpenToWrite(TargetFd, name, truncate, readable);
        if (opened.Failed) throw Failure("create", name, opened.Errno);
        lock (_lock) _created.Add(name);
        return opened.Value;
    }

    // fsync waits for a commit of the journal for each file; syncfs for one in all, but also for everything that
    // others have in the cache of the same file system. On ext4 (2 CPUs under load, in turn, medians of 9):
    //   files     8      16      64     256
    //   fsync    30 ms   57 ms  215 ms  311 ms   (starting writeback for all first changed nothing)
    //   syncfs    2 ms    2 ms    4 ms    9 ms   plus about 0.4 s for each GB of others
    // So a small snapshot does not depend on others, and a large one does not wait for hundreds of commits.
    private void SyncContents()
    {
        if (_created.Count > FilesToSyncSingly)
        {
            SysResult all = ImageFileCalls.Syncfs(TargetFd);
            if (all.Failed) throw Failure("sync", ".", all.Errno);
            return;
        }

        foreach (string name in _created)
        {
            if (name is not (ParentLink or SnapshotSwap.Common)) SyncFile(name);
        }
    }

    private void SyncFile(string name)
    {
        SysResult opened = ImageFileCalls.OpenToRead(TargetFd, name);
        if (opened.Failed) throw Failure("sync", name, opened.Errno);
        SysResult synced = ImageFileCalls.Fsync(opened.Value);
        ImageFileCalls.Close(opened.Value);
        if (synced.Failed) throw Failure("sync", name, synced.Errno);
    }

    private void SyncDirectory()
    {
        SysResult synced = ImageFileCalls.Fsync(_directoryFd);
        if (synced.Failed) throw Failure("sync", ".", synced.Errno);
    }
}
