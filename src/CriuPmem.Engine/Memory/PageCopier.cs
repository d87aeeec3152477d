using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;

namespace CriuPmem.Engine.Memory;

/// <summary>Copies pages out of a frozen process into a file, with as many threads as there are CPUs.</summary>
/// <remarks>process_vm_readv(2) into a buffer that stays in the CPU's cache, pwrite(2) from there. Threads and buffers exist
/// before the tree is frozen.</remarks>
internal sealed unsafe class PageCopier : IDisposable
{
    private const int BufferBytes = 512 * 1024, MaxRanges = 512;
    private const long ParallelFromBytes = 4 << 20;

    private readonly Worker[] _workers;

    /// <summary>Prepares <paramref name="threads"/> threads, of which the caller's own is one.</summary>
    public PageCopier(int threads)
    {
        _workers = new Worker[threads];
        for (int i = 0; i < threads; i++) _workers[i] = new Worker(this, isCaller: i == 0);
    }

    private Job? _job;

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (Worker worker in _workers) worker.Dispose();
    }

    /// <summary>Copies <paramref name="runs"/> densely to <paramref name="file"/>; returns the number of pages.</summary>
    /// <exception cref="CheckpointException">No space is left, or the process is gone.</exception>
    public long Copy(DumpProcess process, List<PageRun> runs, int file, string fileName)
    {
        if (runs.Count == 0) return 0;
        using OwnedFd memory = Sys.OpenOrThrow(process.Proc.Fd, "mem", O_RDONLY);
        return Copy(process, runs, memory.Fd, false, file, fileName);
    }

    /// <summary>Copies <paramref name="runs"/> of an open file, all of them marked unreadable, in the same way.</summary>
    /// <remarks>What the last page has beyond the end of the file becomes zeros.</remarks>
    public long CopyFile(DumpProcess process, List<PageRun> runs, int source, int file, string fileName) =>
        Copy(process, runs, source, true, file, fileName);

    private long Copy(DumpProcess process, List<PageRun> runs, int source, bool isFile, int file, string fileName)
    {
        List<Piece> pieces = Cut(runs, out long totalBytes);
        var job = new Job(process, pieces, source, isFile, file, fileName);
        if (totalBytes < ParallelFromBytes)
        {
            _workers[0].Take(job);
        }
        else
        {
            _job = job;
            foreach (Worker worker in _workers.AsSpan(1)) worker.Go.Set();
            _workers[0].Take(job);
            foreach (Worker worker in _workers.AsSpan(1)) worker.Done.WaitOne();
        }

        if (job.Failure is not null) throw job.Failure;
        return totalBytes / (long)PageSize;
    }


    /// <summary>Cuts runs into pieces of at most a buffer, each with its place in the file.</summary>
    private static List<Piece> Cut(List<PageRun> runs, out long totalBytes)
    {
        var pieces = new List<Piece>(runs.Count);
        long offset = 0;
        foreach (PageRun run in runs)
        {
            for (ulong at = run.Start; at < run.End;)
            {
                ulong length = Math.Min(run.End - at, BufferBytes);
                pieces.Add(new Piece(at, (int)length, offset, run.Carefully));
                at += length;
                offset += (long)length;
            }
        }

        totalBytes = offset;
        return pieces;
    }

    private readonly record struct Piece(ulong Address, int LengthBytes, long FileOffset, bool Carefully);

    private sealed class Job(DumpProcess process, List<Piece> pieces, int memory, bool isFile, int file, string fileName)
    {
        private int _next;

        public int Pid => process.Pid;
        public int Memory => memory;
        public bool IsFile => isFile;
        public int File => file;
        public CheckpointException? Failure { get; private set; }
        public ReadOnlySpan<Piece> Pieces => CollectionsMarshal.AsSpan(pieces);

        /// <summary>Takes the next pieces that together fill a buffer; false when none is left.</summary>
        public bool TryTake(out int first, out int count)
        {
            lock (pieces)
            {
                first = _next;
                int bytes = 0;
                while (_next < pieces.Count && _next - first < MaxRanges && bytes + pieces[_next].LengthBytes <= BufferBytes)
                {
                    if (_next > first && pieces[_next].Carefully != pieces[first].Carefully) break;
                    bytes += pieces[_next++].LengthBytes;
                }

                count = _next - first;
                return count > 0 && Failure is null;
            }
        }

        public void Fail(string cause, Errno errno, ulong address)
        {
            bool full = errno is Errno.ENOSPC or Errno.EDQUOT;
            lock (pieces)
            {
                Failure ??= new CheckpointException(full ? ErrorCode.NoSpace : ErrorCode.SystemCall, full ? "no space is left for the memory of the process" : cause)
                {
                    Pid = process.Pid,
                    ProcessName = process.Stat.Comm,
                    Object = full || address == 0 ? fileName : $"address 0x{address:x}",
                    Errno = errno,
                    Remedy = full ? "Make room, or give another directory with --images-dir" : null,
                };
            }
        }
    }

    private sealed class Worker : IDisposable
    {
        private readonly byte* _buffer = (byte*)NativeMemory.AlignedAlloc(BufferBytes, 4096);
        private readonly ulong* _remote = (ulong*)NativeMemory.Alloc(MaxRanges * 16);
        private readonly PageCopier _owner;
        private readonly Thread? _thread;
        private volatile bool _ends;

        public Worker(PageCopier owner, bool isCaller)
        {
            _owner = owner;
            if (isCaller) return;
            _thread = new Thread(Loop, 256 * 1024) { IsBackground = true, Name = "page copier" };
            _thread.Start();
        }

        public AutoResetEvent Go { get; } = new(false);

        public AutoResetEvent Done { get; } = new(false);

        public void Take(Job job)
        {
            while (job.TryTake(out int first, out int count))
            {
                ReadOnlySpan<Piece> pieces = job.Pieces.Slice(first, count);
                if (Fetch(job, pieces, out long bytes)) Store(job, pieces[0].FileOffset, bytes);
            }
        }

        public void Dispose()
        {
            _ends = true;
            Go.Set();
            _thread?.Join();
            NativeMemory.AlignedFree(_buffer);
            NativeMemory.Free(_remote);
            Go.Dispose();
            Done.Dispose();
        }

        private void Loop()
        {
            for (; ; )
            {
                Go.WaitOne();
                if (_ends) return;
                Take(_owner._job!);
                Done.Set();
            }
        }

        private bool Fetch(Job job, ReadOnlySpan<Piece> pieces, out long bytes)
        {
            bytes = 0;
            if (pieces[0].Carefully) return FetchCarefully(job, pieces, ref bytes);
            for (int i = 0; i < pieces.Length; i++)
            {
                _remote[i * 2] = pieces[i].Address;
                _remote[i * 2 + 1] = (ulong)pieces[i].LengthBytes;
                bytes += pieces[i].LengthBytes;
            }

            ulong* local = stackalloc ulong[2] { (ulong)_buffer, (ulong)bytes };
            SysResult read = Syscall.Invoke(SyscallNumber.process_vm_readv, job.Pid, (long)local, 1, (long)_remote, pieces.Length);
            if (read.Raw == bytes) return true;
            job.Fail("its memory cannot be read", read.Errno, pieces[0].Address);
            return false;
        }

        private bool FetchCarefully(Job job, ReadOnlySpan<Piece> pieces, ref long bytes)
        {
            foreach (Piece piece in pieces)
            {
                for (int done = 0; done < piece.LengthBytes;)
                {
                    SysResult read = Syscall.Invoke(
                        SyscallNumber.pread64, job.Memory, (long)(_buffer + bytes + done), piece.LengthBytes - done, (long)piece.Address + done);
                    if (read.Raw == 0 && job.IsFile) // the rest of the last page
                    {
                        new Span<byte>(_buffer + bytes + done, piece.LengthBytes - done).Clear();
                        break;
                    }

                    if (read.Raw <= 0)
                    {
                        job.Fail("its memory cannot be read", read.Errno, piece.Address);
                        return false;
                    }

                    done += read.Value;
                }

                bytes += piece.LengthBytes;
            }

            return true;
        }

        private void Store(Job job, long offset, long bytes)
        {
            for (long done = 0; done < bytes;)
            {
                SysResult written = Syscall.Invoke(SyscallNumber.pwrite64, job.File, (long)(_buffer + done), bytes - done, offset + done);
                if (written.Raw <= 0)
                {
                    job.Fail("the memory of the process cannot be written", written.Errno, 0);
                    return;
                }

                done += written.Raw;
            }
        }
    }
}
