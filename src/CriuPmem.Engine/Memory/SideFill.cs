using CriuPmem.Engine.Restore;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>
/// Fills a process from the end of its pages, on a thread of the engine, while the process itself reads them from the start:
/// the mapped pages file is written into its memory.
/// </summary>
/// <remarks>The kernel reads the mapping: where the file ends too early by now, the call fails, and no signal comes.</remarks>
internal sealed unsafe class SideFill : IDisposable
{
    private const int MostVectors = FillPieces.MostVectors;
    private const ulong HugePageBytes = 2 << 20;

    private readonly RestoreProcess _process;
    private readonly FillPieces _pieces;
    private readonly Func<ulong, ulong, (ulong First, ulong End)> _huge;
    private readonly SideThread _side = new(isActive: true);
    private readonly (OwnedFd File, ulong Map, ulong LengthBytes)[] _files;
    private readonly OwnedFd _pidfd;
    private readonly SavedPages _pages;

    /// <summary>Begins.</summary>
    /// <param name="process">The process, whose mappings are there and can be written to.</param>
    /// <param name="pages">Its pages.</param>
    /// <param name="pieces">What is filled.</param>
    /// <param name="huge">The part of a stretch (start, length) that huge pages shall be made for.</param>
    /// <exception cref="CheckpointException">A pages file cannot be mapped.</exception>
    public SideFill(RestoreProcess process, SavedPages pages, FillPieces pieces, Func<ulong, ulong, (ulong First, ulong End)> huge)
    {
        (_process, _pages, _pieces, _huge) = (process, pages, pieces, huge);
        _pidfd = new OwnedFd((int)Sys.PidfdOpen(process.Pid).OrThrow("pidfd_open", process.ToString()));
        _files = new (OwnedFd, ulong, ulong)[pages.Files.Count];
        try
        {
            for (int i = 0; i < _files.Length; i++)
            {
                if (pages.Files[i].Compressed) continue;
                var file = new OwnedFd(pages.Files[i].Open(out long lengthBytes));
                _files[i] = (file, 0, (ulong)lengthBytes);
                if (lengthBytes > 0) _files[i].Map = (ulong)Sys.Mmap(0, (ulong)lengthBytes, PROT_READ, MAP_SHARED, file.Fd, 0).OrThrow("mmap", pages.Files[i].Name);
            }
        }
        catch (CheckpointException)
        {
            Dispose();
            throw;
        }

        _side.Post(FillFromEnd);
    }

    /// <summary>Waits until it has done its share.</summary>
    /// <exception cref="CheckpointException">It failed.</exception>
    public void Finish() => _side.Finish();

    /// <inheritdoc />
    public void Dispose()
    {
        _pieces.Drop();
        _side.Dispose();
        foreach ((OwnedFd? file, ulong map, ulong lengthBytes) in _files)
        {
            if (map != 0) Sys.Munmap(map, lengthBytes);
            file?.Dispose();
        }

        _pidfd.Dispose();
    }

    private void FillFromEnd()
    {
        try
        {
            while (_pieces.TryTakeLast(out FillPiece? piece))
            {
                Interruption.Check();
                for (int i = 0; i < piece.Vectors.Count; i += 2) MakeHuge(piece.Vectors[i], piece.Vectors[i + 1]);
                Write(piece);
            }
        }
        catch
        {
            _pieces.Drop(); // the process need not go on either
            throw;
        }
    }

    /// <summary>As the process itself has them made (MemoryRestore): without them it goes on in small pages.</summary>
    private void MakeHuge(ulong start, ulong lengthBytes)
    {
        (ulong first, ulong end) = _huge(start, lengthBytes);
        byte zero = 0;
        ulong* local = stackalloc ulong[2 * MostVectors];
        ulong* remote = stackalloc ulong[2 * MostVectors];
        int count = 0;
        for (ulong at = first; at < end && count < MostVectors; at += HugePageBytes, count++)
        {
            (local[2 * count], local[2 * count + 1]) = ((ulong)&zero, 1);
            (remote[2 * count], remote[2 * count + 1]) = (at, 1);
        }

        if (count == 0) return;
        Syscall.Invoke(SyscallNumber.process_vm_writev, _process.Pid, (long)local, count, (long)remote, count);
        ulong* range = stackalloc ulong[2] { first, end - first };
        Syscall.Invoke(SyscallNumber.process_madvise, _pidfd.Fd, (long)range, 1, MADV_COLLAPSE, 0);
    }

    private void Write(FillPiece piece)
    {
        PagesSource source = _pages.Files[piece.File];
        ulong* local = stackalloc ulong[2] { _files[piece.File].Map + piece.From, piece.LengthBytes };
        ulong* remote = stackalloc ulong[piece.Vectors.Count];
        for (int i = 0; i < piece.Vectors.Count; i++) remote[i] = piece.Vectors[i];
        SysResult written = piece.From + piece.LengthBytes > _files[piece.File].LengthBytes
            ? default
            : Syscall.Invoke(SyscallNumber.process_vm_writev, _process.Pid, (long)local, 1, (long)remote, piece.Vectors.Count / 2);
        if ((ulong)written.Raw == piece.LengthBytes)
        {
            // Pages of the file that stay mapped would count as the engine's memory.
            Syscall.Invoke(SyscallNumber.madvise, (long)(_files[piece.File].Map + piece.From), (long)piece.LengthBytes, MADV_DONTNEED);
            return;
        }

        bool isCut = !Sys.Stat(_files[piece.File].File.Fd, out FileStat now).Failed && (ulong)now.st_size < piece.From + piece.LengthBytes;
        if (isCut)
        {
            throw source.Reader.Damaged(source.Name, "it became shorter while it was read");
        }

        throw _process.Fail(
            ErrorCode.SystemCall, "its memory cannot be filled with the pages of the images", null, $"memory at {piece.Vectors[0]:x}",
            written.Failed ? written.Errno : Errno.EFAULT);
    }
}
