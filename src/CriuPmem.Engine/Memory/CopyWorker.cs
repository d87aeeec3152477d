using System.Runtime.InteropServices;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Copies pieces: process_vm_readv(2) into a buffer that stays in the CPU's cache and pwrite(2) from there, or straight into the file's extent.</summary>
internal sealed unsafe class CopyWorker : IDisposable
{
    /// <summary>The size of the buffer, in bytes.</summary>
    public const int BufferBytes = 512 * 1024;

    private const int MaxRanges = 512;

    private readonly byte* _buffer = (byte*)NativeMemory.AlignedAlloc(BufferBytes, 4096);
    private readonly ulong* _remote = (ulong*)NativeMemory.Alloc(MaxRanges * 16);
    private ExtentWindow? _window;
    private BlockEncoder? _encoder;

    /// <summary>Works until the job is done or has failed.</summary>
    public void Work(CopyJob job)
    {
        for (ReadOnlySpan<CopyPiece> pieces = job.Take(); !pieces.IsEmpty; pieces = job.Take())
        {
            long start = pieces[0].FileOffset;
            byte* extent = null;
            if (job.Destination != 0) extent = (byte*)job.Destination + start;
            else if (job.IntoExtents && start + ExtentWindow.Bytes <= job.EndBytes) extent = (_window ??= new ExtentWindow()).TryMove(job.File, start);
            if (extent is null) CopyBuffered(job, pieces);
            else Fetch(job, pieces, extent);
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        NativeMemory.AlignedFree(_buffer);
        NativeMemory.Free(_remote);
        _window?.Dispose();
        _encoder?.Dispose();
    }

    private void CopyBuffered(CopyJob job, ReadOnlySpan<CopyPiece> pieces)
    {
        while (!pieces.IsEmpty)
        {
            int count = 0, bytes = 0;
            while (count < pieces.Length && bytes + pieces[count].LengthBytes <= BufferBytes) bytes += pieces[count++].LengthBytes;
            if (!Fetch(job, pieces[..count], _buffer) || !Store(job, pieces[0].FileOffset, bytes)) return;
            pieces = pieces[count..];
        }
    }

    /// <summary>Reads pieces, one behind the other, to <paramref name="to"/>; false when the job has failed.</summary>
    internal bool Fetch(CopyJob job, ReadOnlySpan<CopyPiece> pieces, byte* to)
    {
        ulong* local = stackalloc ulong[2];
        while (!pieces.IsEmpty)
        {
            if (pieces[0].Carefully)
            {
                if (!FetchCarefully(job, pieces[0], to)) return false;
                to += pieces[0].LengthBytes;
                pieces = pieces[1..];
                continue;
            }

            int count = 0;
            ulong bytes = 0;
            for (; count < pieces.Length && count < MaxRanges && !pieces[count].Carefully; count++)
            {
                _remote[count * 2] = pieces[count].Address;
                _remote[count * 2 + 1] = (ulong)pieces[count].LengthBytes;
                bytes += (ulong)pieces[count].LengthBytes;
            }

            local[0] = (ulong)to;
            local[1] = bytes;
            SysResult read = Syscall.Invoke(SyscallNumber.process_vm_readv, job.Pid, (long)local, 1, (long)_remote, count);
            if ((ulong)read.Raw != bytes && job.Kind == CopySource.RunningProcess)
            {
                FetchWhatIsLeft(job, pieces[..count], to);
            }
            else if ((ulong)read.Raw != bytes)
            {
                job.Fail("its memory cannot be read", read.Errno, pieces[0].Address);
                return false;
            }

            to += bytes;
            pieces = pieces[count..];
        }

        return true;
    }

    private static bool FetchCarefully(CopyJob job, CopyPiece piece, byte* to)
    {
        for (int done = 0; done < piece.LengthBytes;)
        {
            SysResult read = Syscall.Invoke(SyscallNumber.pread64, job.Source, (long)(to + done), piece.LengthBytes - done, (long)piece.Address + done);
            if (read.Raw <= 0 && job.Kind == CopySource.RunningProcess)
            {
                FetchPages(job, piece, to);
                return true;
            }

            if (read.Raw == 0 && job.Kind == CopySource.File) // the rest of the last page
            {
                new Span<byte>(to + done, piece.LengthBytes - done).Clear();
                return true;
            }

            if (read.Raw <= 0)
            {
                job.Fail("its memory cannot be read", read.Errno, piece.Address);
                return false;
            }

            done += read.Value;
        }

        return true;
    }

    /// <summary>The program has unmapped or protected something: piece by piece, and page by page where that fails.</summary>
    private static void FetchWhatIsLeft(CopyJob job, ReadOnlySpan<CopyPiece> pieces, byte* to)
    {
        foreach (CopyPiece piece in pieces)
        {
            FetchCarefully(job, piece, to);
            to += piece.LengthBytes;
        }
    }

    private static void FetchPages(CopyJob job, CopyPiece piece, byte* to)
    {
        for (int done = 0; done < piece.LengthBytes; done += (int)PageSize)
        {
            SysResult read = Syscall.Invoke(SyscallNumber.pread64, job.Source, (long)(to + done), (long)PageSize, (long)piece.Address + done);
            if (read.Raw != (long)PageSize) new Span<byte>(to + done, (int)PageSize).Clear();
        }
    }

    private bool Store(CopyJob job, long offset, int bytes)
    {
        if (job.Compressed is { } compressed)
        {
            SysResult added = compressed.Add(_encoder ??= compressed.NewEncoder(), offset, new ReadOnlySpan<byte>(_buffer, bytes));
            if (added.Failed) job.Fail("the memory of the process cannot be written", added.Errno, 0);
            return !added.Failed;
        }

        for (int done = 0; done < bytes;)
        {
            SysResult written = Syscall.Invoke(SyscallNumber.pwrite64, job.File, (long)(_buffer + done), bytes - done, offset + done);
            if (written.Raw <= 0)
            {
                job.Fail("the memory of the process cannot be written", written.Errno, 0);
                return false;
            }

            done += written.Value;
        }

        return true;
    }
}
