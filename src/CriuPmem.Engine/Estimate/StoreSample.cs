using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;

namespace CriuPmem.Engine.Estimate;

/// <summary>Moves a sample of the engine's memory into a file and back, as a dump and a restore do, and takes the time.</summary>
/// <remarks>The best of several tries counts: others may be at work, and the first ones wake everything up: on
/// a virtual machine memory that was free for long is the host's.</remarks>
/// <param name="file">An empty file.</param>
/// <param name="directory">Its directory's name, for messages.</param>
/// <param name="bytes">How much memory: whole huge pages, or whole pages where there is no room for more.</param>
internal sealed class StoreSample(OwnedFd file, string directory, ulong bytes)
{
    private const int Tries = 6;
    private const ulong HugePageBytes = 2 << 20, ReadBytes = 4 << 20;

    /// <summary>Measures everything.</summary>
    /// <exception cref="CheckpointException">No room is left for the sample.</exception>
    public StoreSpeed Measure()
    {
        long copied = long.MaxValue, byItself = long.MaxValue, restored = long.MaxValue, released = long.MaxValue;
        bool isTmpfs = Sys.FileSystemMagic(file.Fd) == TMPFS_MAGIC;
        for (int i = 0; i < Tries; i++)
        {
            ulong memory = Map();
            Touch(memory);
            copied = Math.Min(copied, Time(() => Copy(memory, byItself: false)));
            if (isTmpfs) byItself = Math.Min(byItself, Time(() => Copy(memory, byItself: true)));
            released = Math.Min(released, Time(() => Unmap(memory)));
            memory = Map();
            restored = Math.Min(restored, Time(() => Read(memory)));
            Unmap(memory);
        }

        long durable = Time(() => Sys.Sync(file.Fd));
        Sys.PWrite(file.Fd, [1], 0);
        long syncBase = Time(() => Sys.Sync(file.Fd));
        return new StoreSpeed
        {
            CopyRate = Rate(copied),
            OwnCopyRate = isTmpfs ? Rate(byItself) : Rate(copied),
            DurableRate = Rate(durable - syncBase),
            SyncBaseMicroseconds = syncBase,
            ReadRate = Rate(restored),
            ReleaseRate = Rate(released),
        };
    }

    private long Rate(long microseconds) => (long)(bytes * 1e6 / Math.Max(1, microseconds));

    private static long Time(Action work)
    {
        var watch = new StopwatchLap();
        work();
        return Math.Max(1, watch.Lap());
    }

    /// <summary>Memory that begins a huge page; what lies before it stays reserved until the engine ends.</summary>
    private ulong Map()
    {
        ulong start = (ulong)Sys.Mmap(0, bytes + HugePageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).OrThrow("mmap", "memory to measure with");
        return (start + HugePageBytes - 1) & ~(HugePageBytes - 1);
    }

    private void Unmap(ulong memory) => Sys.Munmap(memory, bytes);

    private unsafe void Touch(ulong memory)
    {
        for (ulong at = 0; at < bytes; at += PageSize) *(ulong*)(memory + at) = at + 1;
    }

    private void Copy(ulong memory, bool byItself)
    {
        int own = Sys.GetPid();
        ProcDirectory proc = ProcDirectory.TryOpen(own)!;
        using var self = new DumpProcess(own, proc, proc.Stat()!) { IsEngine = true };
        using var copier = new PageCopier();
        List<PageRun> all = [new PageRun(memory, memory + bytes, 0, false)];
        Sys.Truncate(file.Fd, 0);
        if (byItself) copier.CopyBy(new TaskCopy(new OwnWindow(file.Fd).TryCopy), self, all, file.Fd, directory);
        else copier.Copy(self, all, file.Fd, directory);
    }

    /// <summary>As a process is filled: huge pages first, then contents, on two CPUs.</summary>
    private void Read(ulong memory)
    {
        ulong next = 0;
        var helper = new Thread(Work, 256 * 1024) { IsBackground = true, Name = "sample reader" };
        bool hasHelper = helper.TryBegin();
        Work();
        if (hasHelper) helper.Join();

        unsafe void Work()
        {
            for (ulong at = Take(); at < bytes; at = Take())
            {
                ulong length = Math.Min(ReadBytes, bytes - at), start = memory + at;
                for (ulong page = 0; page < length; page += HugePageBytes) Syscall.Invoke(SyscallNumber.madvise, (long)(start + page), (long)PageSize, MADV_POPULATE_WRITE);
                Syscall.Invoke(SyscallNumber.madvise, (long)start, (long)length, MADV_COLLAPSE);
                Sys.PRead(file.Fd, new Span<byte>((void*)start, (int)length), (long)at);
            }
        }

        ulong Take() => Interlocked.Add(ref next, ReadBytes) - ReadBytes;
    }
}
