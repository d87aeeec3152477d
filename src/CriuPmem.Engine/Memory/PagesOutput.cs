using CriuPmem.Engine.Dump;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Where saved pages go: pages-N.img, or compressed, cpages-N.img.</summary>
/// <remarks>
/// Compressing takes several times as long as copying. A tree that will run on does not stand still for it: its pages are
/// copied into memory, and compressed from there when it runs again. One that is ended anyway, or runs already, waits for
/// nothing: its pages are compressed as they are read, without a copy.
/// </remarks>
/// <param name="snapshot">The images.</param>
/// <param name="options">What the user asked for.</param>
/// <param name="ids">Numbers the files.</param>
/// <param name="runsOn">The tree stands still now, and runs on afterwards.</param>
internal sealed class PagesOutput(SnapshotWriter snapshot, DumpOptions options, PagesIds ids, bool runsOn) : IDisposable
{
    private readonly CompressionProgress _progress = new(options);
    private readonly List<(DumpProcess Process, OwnedFd Copy, long LengthBytes, uint PagesId)> _later = [];

    /// <summary>How pages are compressed; null when they are not.</summary>
    public PageCompression? Compression => options.Compression;

    /// <summary>Bytes of pages that were compressed, and what became of them.</summary>
    public (long Plain, long Stored) Compressed { get; private set; }

    /// <summary>The number of the next pages file.</summary>
    public uint NextId() => ids.Next();

    /// <summary>Starts a page map.</summary>
    public PagemapWriter NewMap(ImageKind kind, long id, uint pagesId) => new(snapshot, kind, id, pagesId, Compression is not null);

    /// <summary>Saves pages of a process; returns how many.</summary>
    public long Save(PageCopier copier, DumpProcess process, List<PageRun> runs, uint pagesId, bool running = false)
    {
        long before = copier.CopiedByTasks;
        long count = Save(process, runs, pagesId, (file, name, compressed) => copier.Copy(process, runs, file, name, running, compressed: compressed));
        long byItself = copier.CopiedByTasks - before;
        if (byItself > 0) options.Log.Debug("memory", $"{process}: {byItself >> 20} of {count * (long)PageSize >> 20} MiB copied by the process itself");
        return count;
    }

    /// <summary>Saves pages of an open file in the same way.</summary>
    public long SaveFile(PageCopier copier, DumpProcess process, List<PageRun> runs, int source, uint pagesId) =>
        Save(process, runs, pagesId, (file, name, compressed) => copier.CopyFile(process, runs, source, file, name, compressed: compressed));

    /// <summary>Compresses what was copied while the tree stood still.</summary>
    public void Finish(PageCopier copier)
    {
        foreach ((DumpProcess process, OwnedFd copy, long lengthBytes, uint pagesId) in _later)
        {
            using CompressedPagesWriter file = Begin(pagesId, lengthBytes);
            List<PageRun> all = [new PageRun(0, (ulong)lengthBytes, 0, true)];
            copier.CopyFile(process, all, copy.Fd, -1, NameOf(pagesId), compressed: file);
            End(file, lengthBytes);
            copy.Dispose();
        }

        _later.Clear();
        if (Compressed.Plain > 0) options.Log.Info("compress", $"{Compressed.Plain >> 10} KiB of pages became {Compressed.Stored >> 10} KiB");
    }

    /// <summary>Starts a file of compressed pages for <see cref="LiveMemory"/>, which has copied them itself.</summary>
    public CompressedPagesWriter Begin(uint pagesId, long lengthBytes) => new(snapshot, pagesId, Compression!.Value, lengthBytes) { OnAdded = _progress.Add };

    /// <summary>Ends such a file.</summary>
    public void End(CompressedPagesWriter file, long lengthBytes)
    {
        file.Complete();
        Compressed = (Compressed.Plain + lengthBytes, Compressed.Stored + file.StoredBytes);
    }

    /// <summary>Opens a file for pages of a tree that runs again: the pages file itself, or one that <see cref="Finish"/> compresses.</summary>
    /// <returns>A descriptor that the caller owns.</returns>
    public OwnedFd Open(DumpProcess process, uint pagesId, long lengthBytes)
    {
        if (Compression is null) return OpenPages(pagesId, lengthBytes, waits: false);
        OwnedFd copy = TryMakeCopy(lengthBytes) ?? MakeWorkingFile();
        _later.Add((process, copy, lengthBytes, pagesId));
        return new OwnedFd((int)Sys.Fcntl(copy.Fd, F_DUPFD_CLOEXEC).OrThrow("fcntl(F_DUPFD_CLOEXEC)", "a copy of pages"));
    }

    /// <summary>A file without a name in the images directory.</summary>
    /// <exception cref="CheckpointException">The file system cannot.</exception>
    public OwnedFd MakeWorkingFile()
    {
        SysResult opened = Sys.OpenAt(options.ImagesDirectoryFd, ".", O_TMPFILE | O_RDWR, 0x180);
        if (!opened.Failed) return new OwnedFd(opened.Value);
        throw new CheckpointException(ErrorCode.ImagesDirectory, "no working file can be made for a live snapshot")
        {
            Object = options.ImagesDirectory,
            Errno = opened.Errno,
            Remedy = opened.Errno is Errno.EROFS or Errno.EACCES or Errno.EPERM
                ? "Choose an images directory that can be written to (-D)."
                : "Choose a directory on another file system, or give --no-live.",
        };
    }

    /// <summary>The name of a pages file, for messages.</summary>
    public string NameOf(uint pagesId) => $"{options.ImagesDirectory}/{(Compression is null ? ImageKind.Pages : ImageKind.CompressedPages).FileName(pagesId)}";

    /// <summary>A file in memory for a copy of so many bytes; null when the machine has no room to spare for it.</summary>
    public static OwnedFd? TryMakeCopy(long lengthBytes)
    {
        if (lengthBytes > MemoryInfo.AvailableBytes() / 2) return null;
        SysResult made = Sys.MemfdCreate("criu-pmem-copy", MFD_CLOEXEC);
        return made.Failed ? null : new OwnedFd(made.Value);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach ((_, OwnedFd copy, _, _) in _later) copy.Dispose();
    }

    /// <summary>Opens a pages file; a tree that stands still and will run on does not wait for a disk.</summary>
    private OwnedFd OpenPages(uint pagesId, long lengthBytes, bool waits)
    {
        var pages = new OwnedFd(snapshot.OpenPages(pagesId, lengthBytes));
        if (options.Sync && !waits) DirectWay.Prepare(pages.Fd, lengthBytes);
        return pages;
    }

    private long Save(DumpProcess process, List<PageRun> runs, uint pagesId, Func<int, string, CompressedPagesWriter?, long> copy)
    {
        long lengthBytes = runs.Sum(static run => (long)run.LengthBytes);
        if (Compression is null)
        {
            using OwnedFd pages = OpenPages(pagesId, lengthBytes, waits: runsOn);
            return copy(pages.Fd, NameOf(pagesId), null);
        }

        if (runsOn && lengthBytes > 0 && TryMakeCopy(lengthBytes) is { } memory)
        {
            _later.Add((process, memory, lengthBytes, pagesId));
            return copy(memory.Fd, "a copy in memory", null);
        }

        using CompressedPagesWriter file = Begin(pagesId, lengthBytes);
        long count = copy(-1, NameOf(pagesId), file);
        End(file, lengthBytes);
        return count;
    }
}
