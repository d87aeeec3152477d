using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Has a disk read the pages that will be wanted next, from both ends, while earlier ones are copied.</summary>
/// <remarks>The kernel by itself reads 128 KiB ahead: a disk idles most of the time. What is in the page cache already costs nothing.</remarks>
internal sealed unsafe class ReadAhead : IDisposable
{
    private const int PiecesAhead = 3, IntervalMicroseconds = 500;
    private const int POSIX_FADV_WILLNEED = 3;

    private readonly FillPieces _pieces;
    private readonly OwnedFd[] _files;
    private readonly Thread? _thread;
    private volatile bool _isEnded;

    /// <summary>Begins, if a file lies on a disk.</summary>
    /// <param name="pages">Whose files.</param>
    /// <param name="pieces">What is read of them.</param>
    public ReadAhead(SavedPages pages, FillPieces pieces)
    {
        _pieces = pieces;
        _files = [.. pages.Files.Select(static file => new OwnedFd(file.Compressed ? -1 : file.Open(out _)))];
        if (Array.TrueForAll(_files, static file => file.Fd < 0 || Sys.FileSystemMagic(file.Fd) == TMPFS_MAGIC || Check.PersistentMemory.IsDax(file.Fd))) return;
        var thread = new Thread(Read, 128 * 1024) { IsBackground = true, Name = "read ahead" };
        if (thread.TryBegin()) _thread = thread;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _isEnded = true;
        _thread?.Join();
        foreach (OwnedFd file in _files) file.Dispose();
    }

    private void Read()
    {
        int front = 0, back = int.MaxValue;
        while (!_isEnded && _pieces.TryLookAhead(PiecesAhead, ref front, ref back, out FillPiece? next))
        {
            if (next is null) Sys.SleepMicroseconds(IntervalMicroseconds);
            else if (!IsCached(next)) Syscall.Invoke(SyscallNumber.fadvise64, _files[next.File].Fd, (long)next.From, (long)next.LengthBytes, POSIX_FADV_WILLNEED);
        }
    }

    /// <summary>By cachestat(2), Linux 6.5.</summary>
    private bool IsCached(FillPiece piece)
    {
        ulong* range = stackalloc ulong[2] { piece.From, piece.LengthBytes };
        ulong* cached = stackalloc ulong[5]; // struct cachestat: pages in the cache come first
        return !Syscall.Invoke(SyscallNumber.cachestat, _files[piece.File].Fd, (long)range, (long)cached, 0).Failed && *cached * PageSize >= piece.LengthBytes;
    }
}
