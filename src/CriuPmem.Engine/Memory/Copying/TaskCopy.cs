using CriuPmem.Engine.Dump;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Memory;

/// <summary>Has a frozen process copy its own pages into huge pages of a tmpfs file or into persistent memory, while the engine makes those ready, and copies from the other end.</summary>
/// <remarks>
/// process_vm_readv(2) looks up and pins every page, which takes longer than copying it: 2 to 3 GB/s for each CPU. The process reads
/// its memory through its own page tables, and stores past the caches: 8 to 10 into pages that exist (pages of 4 KiB, Zen 4,
/// docs/performance.md). What it takes of the CPU counts for its control group, and is little where that allows little: then the
/// engine copies the more.
/// </remarks>
internal sealed class TaskCopy
{
    /// <summary>Less is copied without, in bytes.</summary>
    public const long WorthwhileBytes = 64 << 20;

    // A window's page tables, and its pages where the engine could not make them.
    private const ulong LeastRoomBytes = 16 << 20;

    private const int WindowExtents = 16;
    private const ulong WindowBytes = WindowExtents * ExtentWindow.Bytes;

    private readonly WindowCopy _copy;
    private bool _isBroken;

    /// <summary>Makes one.</summary>
    /// <param name="copy">Has the process copy.</param>
    public TaskCopy(WindowCopy copy) => _copy = copy;

    /// <summary>Has a process copy pieces of its memory into a part of the pages file; false when it could not, or not all.</summary>
    /// <param name="offset">Where in the file the part is.</param>
    /// <param name="lengthBytes">Its length.</param>
    /// <param name="pieces">From where in its memory, to where in the part, how many bytes.</param>
    public delegate bool WindowCopy(long offset, ulong lengthBytes, IReadOnlyList<(ulong From, ulong To, ulong LengthBytes)> pieces);

    /// <summary>What the process has copied.</summary>
    public long CopiedBytes { get; private set; }

    /// <summary>Makes one; null for a process in which it could do harm, or has no room.</summary>
    /// <param name="process">The process, observed.</param>
    /// <param name="file">The pages file.</param>
    public static TaskCopy? TryMake(DumpProcess process, int file)
    {
        if (process.Space is not { Tail: not null } space || process.Threads.Count == 0 || process.IsEngine) return null;
        // If the engine died, a filter would be back; and a pending or ignored fault signal would not survive a fault.
        const ulong faults = 1UL << (SIGSEGV - 1) | 1UL << (SIGBUS - 1);
        if (process.Threads.Exists(static thread => thread.Status.Seccomp != 0 || ((thread.Status.PendingThread | thread.Status.PendingProcess | thread.Status.Ignored) & faults) != 0)) return null;
        if (FindRoom(process.Mappings) is not { } address) return null;
        if (MemoryRoom.Bytes(process.Proc) < LeastRoomBytes) return null; // what it maps is its own, and the kernel might end it for that
        var window = new FileWindow(space, process.Leader.Task, process.CopyOf, file, FreeNumbers(process), address);
        return new TaskCopy(window.TryCopy);
    }

    /// <summary>Copies all; the caller is the tracer.</summary>
    /// <param name="job">Where to, and who has failed.</param>
    /// <param name="queue">What.</param>
    /// <param name="own">Copies on this thread what the process does not.</param>
    public void Run(CopyJob job, ExtentQueue queue, CopyWorker own)
    {
        var helper = new Thread(() => TryHelp(job, queue), 256 * 1024) { IsBackground = true, Name = "page copier" };
        helper.Begin();
        try
        {
            for (bool isDone = false; !isDone && job.GoesOn();)
            {
                ReadOnlySpan<CopyPiece> pieces = queue.TakeReady(WindowExtents, FileWindow.MaxPieces, out isDone);
                if (!pieces.IsEmpty) Copy(job, pieces, own);
                else if (queue.TakeLast() is { IsEmpty: false } last) own.Copy(job, last);
                else if (!isDone) Thread.Yield(); // the helper has the last one
            }
        }
        finally
        {
            job.Stop();
            helper.Join();
        }
    }

    private static void TryHelp(CopyJob job, ExtentQueue queue)
    {
        try
        {
            Help(job, queue);
        }
        catch (CheckpointException failure)
        {
            job.Fail(failure); // no memory for a window, say
        }
    }

    private static void Help(CopyJob job, ExtentQueue queue)
    {
        using var worker = new CopyWorker();
        using ExtentWindow window = job.Way!.MakeWindow!();
        while (job.GoesOn())
        {
            if (queue.TryPrepare(out ReadOnlySpan<CopyPiece> pieces, out bool whole))
            {
                bool ready = whole && HasPages(window, job.File, pieces[0].FileOffset);
                if (!ready) worker.Copy(job, pieces);
                queue.Prepared(copied: !ready);
                continue;
            }

            ReadOnlySpan<CopyPiece> last = queue.TakeLast();
            if (last.IsEmpty) return;
            worker.Copy(job, last);
        }
    }

    private static unsafe bool HasPages(ExtentWindow window, int file, long offset) => window.TryMove(file, offset) is not null;

    private void Copy(CopyJob job, ReadOnlySpan<CopyPiece> pieces, CopyWorker own)
    {
        long start = pieces[0].FileOffset, end = pieces[^1].FileOffset + pieces[^1].LengthBytes;
        if (!_isBroken)
        {
            var moves = new List<(ulong, ulong, ulong)>(pieces.Length);
            foreach (CopyPiece piece in pieces) moves.Add((piece.Address, (ulong)(piece.FileOffset - start), (ulong)piece.LengthBytes));
            if (_copy(start, (ulong)(end - start), moves))
            {
                CopiedBytes += end - start;
                return;
            }

            _isBroken = true; // all of it is read from outside then
        }

        while (!pieces.IsEmpty) // extent by extent
        {
            long extent = pieces[0].FileOffset / ExtentWindow.Bytes;
            int count = 0;
            while (count < pieces.Length && pieces[count].FileOffset / ExtentWindow.Bytes == extent) count++;
            own.Copy(job, pieces[..count]);
            pieces = pieces[count..];
        }
    }

    /// <summary>The middle of the largest gap between mappings: nothing grows into it.</summary>
    private static ulong? FindRoom(List<MemoryMapping> mappings)
    {
        ulong after = 1 << 20, best = 0, bestBytes = 0;
        foreach (MemoryMapping mapping in mappings)
        {
            if (mapping.Start >= TaskSize) break;
            if (mapping.Start > after && mapping.Start - after > bestBytes) (best, bestBytes) = (after, mapping.Start - after);
            after = mapping.End;
        }

        return bestBytes < 4 * WindowBytes ? null : (best + bestBytes / 2) & ~(WindowBytes - 1);
    }

    private static (int, int, int) FreeNumbers(DumpProcess process)
    {
        HashSet<int> taken = [.. process.Proc.Numbers("fd")];
        int first = Next(0), second = Next(first + 1);
        return (first, second, Next(second + 1));

        int Next(int from)
        {
            while (taken.Contains(from)) from++;
            return from;
        }
    }
}
