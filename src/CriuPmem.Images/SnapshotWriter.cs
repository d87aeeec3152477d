using CriuPmem.Images.Messages;
using CriuPmem.Kernel;
using Google.Protobuf;

namespace CriuPmem.Images;

/// <summary>Writes one snapshot into a directory: all its images, then, as the last, the inventory.</summary>
/// <remarks>
/// <c>Begin</c>, any number of files, then <c>Commit</c> or <c>Abandon</c>. inventory.img is there only while the set
/// is complete, at any instant and also after a power cut. Creating files is thread-safe; one file is not.
/// </remarks>
internal sealed class SnapshotWriter
{
    private const string ParentLink = "parent";
    private const string NewInventory = "inventory.img.new";

    private const int FilesToSyncSingly = 16;

    private readonly int _directoryFd;
    private readonly string _directoryName;
    private readonly List<string> _created = [];
    private readonly Lock _lock = new();

    /// <summary>Makes a writer; touches nothing yet.</summary>
    /// <param name="directoryFd">The images directory; stays the caller's.</param>
    /// <param name="directoryName">Its name for messages.</param>
    public SnapshotWriter(int directoryFd, string directoryName)
    {
        _directoryFd = directoryFd;
        _directoryName = directoryName;
    }

    /// <summary>The files made so far, in order.</summary>
    public IReadOnlyList<string> CreatedFiles => _created;

    /// <summary>Declares an older snapshot in the directory void, before the first of its files is touched.</summary>
    /// <param name="sync">
    /// True makes that durable: otherwise a power cut could bring the old inventory back beside new images.
    /// </param>
    public void Begin(bool sync = true)
    {
        ImageFileCalls.Unlink(_directoryFd, NewInventory);
        ImageFileCalls.Unlink(_directoryFd, ParentLink); // of an older snapshot there; a directory of that name stays
        SysResult unlinked = ImageFileCalls.Unlink(_directoryFd, ImageKind.Inventory.FileName());
        if (unlinked.Errno == Errno.ENOENT) return;
        if (unlinked.Failed) throw Failure("remove", ImageKind.Inventory.FileName(), unlinked.Errno);
        if (sync) SyncDirectory();
    }

    /// <summary>Says which snapshot this one continues.</summary>
    /// <param name="path">Its directory, as seen from this one.</param>
    public void LinkParent(string path)
    {
        SysResult linked = ImageFileCalls.MakeLink(path, _directoryFd, ParentLink);
        if (linked.Failed) throw Failure("create", ParentLink, linked.Errno);
        lock (_lock) _created.Add(ParentLink);
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

    /// <summary>Completes the snapshot: everything durable, then the inventory.</summary>
    /// <param name="inventory">Its one entry.</param>
    /// <param name="sync">False leaves it to the kernel when the bytes reach the medium (--no-sync).</param>
    public void Commit(InventoryEntry inventory, bool sync)
    {
        if (sync) SyncContents();
        int fd = Open(NewInventory, truncate: true, readable: false);
        using (var image = new ImageWriter(this, ImageKind.Inventory, NewInventory, fd)) image.Add(inventory);
        if (sync) SyncFile(NewInventory);

        string name = ImageKind.Inventory.FileName();
        SysResult renamed = ImageFileCalls.Rename(_directoryFd, NewInventory, name);
        if (renamed.Failed) throw Failure("rename", NewInventory, renamed.Errno);
        lock (_lock)
        {
            _created.Remove(NewInventory);
            _created.Add(name);
        }

        if (sync) SyncDirectory();
    }

    /// <summary>Removes every file that was made, the inventory first. Does nothing the second time.</summary>
    public void Abandon()
    {
        lock (_lock)
        {
            for (int i = _created.Count - 1; i >= 0; i--) ImageFileCalls.Unlink(_directoryFd, _created[i]);
            _created.Clear();
        }
    }

    /// <summary>A failure of a call on one of the files, in words; space and quota are told with their numbers.</summary>
    internal CheckpointException Failure(
        string action, string fileName, Errno errno, long lengthBytes = 0, long offsetBytes = 0)
    {
        string path = $"{_directoryName}/{fileName}";
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
            Remedy = errno is Errno.EACCES or Errno.EROFS or Errno.EPERM
                ? "Choose an images directory that can be written to (-D)."
                : null,
        };
    }

    private int Open(string name, bool truncate, bool readable)
    {
        SysResult opened = ImageFileCalls.OpenToWrite(_directoryFd, name, truncate, readable);
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
            SysResult all = ImageFileCalls.Syncfs(_directoryFd);
            if (all.Failed) throw Failure("sync", ".", all.Errno);
            return;
        }

        foreach (string name in _created)
        {
            if (name != ParentLink) SyncFile(name);
        }
    }

    private void SyncFile(string name)
    {
        SysResult opened = ImageFileCalls.OpenToRead(_directoryFd, name);
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
