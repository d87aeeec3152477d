using System.Runtime.InteropServices;

namespace CriuPmem.Engine.Memory;

/// <summary>One thread's part in a copy: reads pieces of a process or a file to where its way of copying wants them.</summary>
internal sealed unsafe class CopyWorker : IDisposable
{
    private const int MaxRanges = 512;

    private readonly ulong* _remote = (ulong*)NativeMemory.Alloc(MaxRanges * 16);
    private CopyWay? _way; // kept for the next job, if that wants the same
    private CopyWays.Choice? _made;

    /// <summary>Works until the job is done or has failed.</summary>
    public void Work(CopyJob job)
    {
        for (ReadOnlySpan<CopyPiece> pieces = job.Take(); !pieces.IsEmpty; pieces = job.Take()) Copy(job, pieces);
    }

    /// <summary>Copies the pieces of one extent; failures are noted in the job.</summary>
    public void Copy(CopyJob job, ReadOnlySpan<CopyPiece> pieces)
    {
        if (_made != job.Way)
        {
            _way?.Dispose();
            _way = job.Way!.Make();
            _made = job.Way;
        }

        _way!.Copy(this, job, pieces);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        NativeMemory.Free(_remote);
        _way?.Dispose();
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

            if (read.Raw == 0 && job.Kind == CopySource.File && piece.LengthBytes - done < (int)PageSize) // the rest of the last page
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
}
