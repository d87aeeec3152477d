using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;

namespace CriuPmem.Engine.Memory;

/// <summary>Pages of one process (or of one file) on their way into one pages file, shared out to the workers.</summary>
internal sealed class CopyJob(DumpProcess process, List<CopyPiece> pieces, int source, CopySource kind, int file, string fileName)
{
    private int _next;
    private bool _isStopped;

    /// <summary>The process that is read, by one of its live tasks.</summary>
    public int Pid => process.TaskId;

    /// <summary>/proc/PID/mem, or the file that is read.</summary>
    public int Source => source;

    /// <summary>What kind of source it is.</summary>
    public CopySource Kind => kind;

    /// <summary>The pages file.</summary>
    public int File => file;

    /// <summary>Where in the file it ends, in bytes.</summary>
    public long EndBytes { get; init; }

    /// <summary>How its pieces are copied; null for who fetches them himself.</summary>
    public CopyWays.Choice? Way { get; init; }

    /// <summary>Why it failed; null while it has not.</summary>
    public CheckpointException? Failure { get; private set; }

    /// <summary>Takes the pieces of the next extent of the file; empty when none is left, or the job has failed.</summary>
    public ReadOnlySpan<CopyPiece> Take()
    {
        lock (pieces)
        {
            if (Interruption.IsWanted) Failure ??= Interruption.Failure();
            int first = _next;
            if (first == pieces.Count || Failure is not null) return [];
            long extent = pieces[first].FileOffset / ExtentWindow.Bytes;
            while (_next < pieces.Count && pieces[_next].FileOffset / ExtentWindow.Bytes == extent) _next++;
            return CollectionsMarshal.AsSpan(pieces)[first.._next];
        }
    }

    /// <summary>False when it has failed, or was stopped.</summary>
    public bool GoesOn()
    {
        lock (pieces)
        {
            if (Interruption.IsWanted) Failure ??= Interruption.Failure();
            return Failure is null && !_isStopped;
        }
    }

    /// <summary>No more of it is wanted.</summary>
    public void Stop()
    {
        lock (pieces) _isStopped = true;
    }

    /// <summary>Notes the first failure.</summary>
    /// <param name="cause">What failed.</param>
    /// <param name="errno">Its error; of a full file system another cause is told.</param>
    /// <param name="address">Where in the process, or 0.</param>
    public void Fail(string cause, Errno errno, ulong address)
    {
        lock (pieces) Failure ??= Describe(process, fileName, cause, errno, address);
    }

    /// <inheritdoc cref="Fail(string,Errno,ulong)" />
    public void Fail(CheckpointException failure)
    {
        lock (pieces) Failure ??= failure;
    }

    /// <summary>What went wrong, in words.</summary>
    public static CheckpointException Describe(DumpProcess process, string fileName, string cause, Errno errno, ulong address)
    {
        bool full = errno is Errno.ENOSPC or Errno.EDQUOT or Errno.EFBIG;
        return new CheckpointException(full ? ErrorCode.NoSpace : ErrorCode.SystemCall, !full ? cause : errno == Errno.EFBIG ? "files may not grow as large as the memory of the process" : "no space is left for the memory of the process")
        {
            Pid = process.Pid,
            ProcessName = process.Stat.Comm,
            Object = full || address == 0 ? fileName : $"address 0x{address:x}",
            Errno = errno,
            Remedy = !full ? null
                : errno == Errno.EFBIG ? "Raise the limit on the size of files (ulimit -f), or give a directory on a file system that takes larger ones with --images-dir"
                : "Make room, or give another directory with --images-dir",
        };
    }
}
