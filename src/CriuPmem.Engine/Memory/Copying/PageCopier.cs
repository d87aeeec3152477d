using CriuPmem.Engine.Dump;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Copies pages out of a frozen process into a file, large amounts with several threads.</summary>
internal sealed class PageCopier : IDisposable
{
    private const long ParallelFromBytes = 4 << 20;

    private readonly CopyWorker _own = new();
    private readonly int _helpers = Math.Min(Environment.ProcessorCount, 4) - 1;

    /// <summary>Bytes that processes have copied themselves (<see cref="TaskCopy"/>), so far.</summary>
    public long CopiedByTasks { get; private set; }

    /// <summary>Copies <paramref name="runs"/> densely to <paramref name="file"/>; returns the number of pages.</summary>
    /// <param name="process">Whose pages they are.</param>
    /// <param name="runs">The pages.</param>
    /// <param name="file">The pages file.</param>
    /// <param name="fileName">Its name for messages.</param>
    /// <param name="running">The process runs: what cannot be read any more becomes zeros.</param>
    /// <param name="offset">Where in the file they begin, a multiple of 2 MiB.</param>
    /// <param name="compressed">Takes them instead of the file.</param>
    /// <exception cref="CheckpointException">No space is left, or the process is gone.</exception>
    public long Copy(DumpProcess process, List<PageRun> runs, int file, string fileName, bool running = false, long offset = 0, CompressedPagesWriter? compressed = null)
    {
        if (runs.Count == 0) return 0;
        using OwnedFd memory = OpenMemory(process, running, runs.Exists(run => run.Carefully));
        return Copy(process, runs, memory.Fd, running ? CopySource.RunningProcess : CopySource.Process, file, fileName, offset, compressed);
    }

    /// <summary>Copies <paramref name="runs"/> of a process that stands still into the engine's own memory.</summary>
    public void Copy(DumpProcess process, List<PageRun> runs, ulong destination)
    {
        if (runs.Count == 0) return;
        using OwnedFd memory = OpenMemory(process, running: false, runs.Exists(run => run.Carefully));
        List<CopyPiece> pieces = Cut(runs, 0, out long endBytes);
        var job = new CopyJob(process, pieces, memory.Fd, CopySource.Process, -1, "memory of criu-pmem") { EndBytes = endBytes, Way = new CopyWays.Choice(() => new MemoryWay(destination)) };
        Work(job, endBytes);
        if (job.Failure is not null) throw job.Failure;
    }

    /// <summary>Copies <paramref name="runs"/> into a file of a tmpfs as a process does that copies itself (<see cref="TaskCopy"/>).</summary>
    public void CopyBy(TaskCopy task, DumpProcess process, List<PageRun> runs, int file, string fileName)
    {
        List<CopyPiece> pieces = Cut(runs, 0, out long endBytes);
        var job = new CopyJob(process, pieces, -1, CopySource.Process, file, fileName) { EndBytes = endBytes, Way = CopyWays.Into(file, endBytes, endBytes) };
        task.Run(job, new ExtentQueue(pieces, endBytes), _own);
        if (job.Failure is not null) throw job.Failure;
    }

    internal static OwnedFd OpenMemory(DumpProcess process, bool running, bool carefully)
    {
        if (!running && !carefully) return new OwnedFd(-1);
        SysResult opened = Sys.OpenAt(process.Proc.Fd, "mem", O_RDONLY);
        // One that has ended meanwhile leaves zeros, for which nobody will ask.
        return new OwnedFd(running && opened.Failed ? -1 : (int)opened.OrThrow("open", $"/proc/{process.Pid}/mem"));
    }

    /// <summary>Copies <paramref name="runs"/> of an open file, all of them to be read carefully, in the same way.</summary>
    /// <remarks>What the last page has beyond the end of the file becomes zeros.</remarks>
    public long CopyFile(DumpProcess process, List<PageRun> runs, int source, int file, string fileName, long offset = 0, CompressedPagesWriter? compressed = null) =>
        Copy(process, runs, source, CopySource.File, file, fileName, offset, compressed);

    /// <inheritdoc />
    public void Dispose() => _own.Dispose();

    private long Copy(DumpProcess process, List<PageRun> runs, int source, CopySource kind, int file, string fileName, long offset, CompressedPagesWriter? compressed)
    {
        List<CopyPiece> pieces = Cut(runs, offset, out long endBytes);
        long totalBytes = endBytes - offset;
        var job = new CopyJob(process, pieces, source, kind, file, fileName)
        {
            EndBytes = endBytes,
            Way = compressed is null ? CopyWays.Into(file, totalBytes, endBytes) : new CopyWays.Choice(() => new CompressingWay(compressed)),
        };
        bool mapped = job.Way.MakeWindow is not null && kind == CopySource.Process && totalBytes >= TaskCopy.WorthwhileBytes;
        if (mapped && TaskCopy.TryMake(process, file) is { } task)
        {
            task.Run(job, new ExtentQueue(pieces, endBytes), _own);
            CopiedByTasks += task.CopiedBytes;
        }
        else
        {
            Work(job, totalBytes);
        }

        return job.Failure is null ? totalBytes / (long)PageSize : throw job.Failure;
    }

    private void Work(CopyJob job, long totalBytes)
    {
        Thread[] helpers = totalBytes >= ParallelFromBytes ? [.. Enumerable.Range(0, job.Way?.Workers - 1 ?? _helpers).Select(_ => Help(job)).OfType<Thread>()] : [];
        _own.Work(job);
        foreach (Thread helper in helpers) helper.Join();
    }

    /// <summary>Starts a helper; null where a limit forbids another thread.</summary>
    private static Thread? Help(CopyJob job)
    {
        var thread = new Thread(
            () =>
            {
                try
                {
                    using var worker = new CopyWorker();
                    worker.Work(job);
                }
                catch (CheckpointException failure)
                {
                    job.Fail(failure); // no memory for a window, say
                }
            },
            256 * 1024)
        { IsBackground = true, Name = "page copier" };
        return thread.TryBegin() ? thread : null;
    }

    /// <summary>Cuts runs at the borders of buffers in the pages file.</summary>
    private static List<CopyPiece> Cut(List<PageRun> runs, long offset, out long endBytes)
    {
        var pieces = new List<CopyPiece>(runs.Count);
        foreach (PageRun run in runs)
        {
            for (ulong at = run.Start; at < run.End;)
            {
                int room = BufferedWay.BufferBytes - (int)(offset % BufferedWay.BufferBytes);
                int length = (int)Math.Min(run.End - at, (ulong)room);
                pieces.Add(new CopyPiece(at, length, offset, run.Carefully));
                at += (ulong)length;
                offset += length;
            }
        }

        endBytes = offset;
        return pieces;
    }
}
