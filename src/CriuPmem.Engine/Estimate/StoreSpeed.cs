using System.Globalization;
using System.Text;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;

namespace CriuPmem.Engine.Estimate;

/// <summary>How fast memory goes into a directory: measured once by copying as a dump does, and remembered for its device.</summary>
/// <param name="BytesPerSecond">Copying.</param>
/// <param name="DurableBytesPerSecond">Until it is durable, from then on.</param>
/// <param name="SyncBaseMicroseconds">Making nothing durable.</param>
internal sealed record StoreSpeed(long BytesPerSecond, long DurableBytesPerSecond, long SyncBaseMicroseconds)
{
    private const string Cache = "/var/cache/criu-pmem";
    private const string Version = "1";
    private const long SampleBytes = 64 << 20;
    private const long LeastSampleBytes = 4 << 20;
    private const int Samples = 3;
    private const long GoodForSeconds = 24 * 3600; // the speed of a disk changes as it fills
    /// <summary>How long it takes until so much is durable, once it is copied.</summary>
    public long SyncMicroseconds(long bytes) => SyncBaseMicroseconds + (long)(bytes * 1e6 / DurableBytesPerSecond);

    /// <summary>What is remembered of a directory's device, or what is measured now.</summary>
    /// <exception cref="CheckpointException">The directory cannot be written to.</exception>
    public static StoreSpeed Of(int directoryFd, string directory, EngineLog log)
    {
        Sys.Stat(directoryFd, out FileStat stat).OrThrow("fstat", directory);
        string path = string.Create(CultureInfo.InvariantCulture, $"{Cache}/store-{stat.st_dev:x}-{Sys.FileSystemMagic(directoryFd):x}");
        string boot = BootId();
        if (TryRead(path, boot, Now()) is { } known) return known;
        long sampleBytes = SampleFor(directoryFd);
        if ((sampleBytes < LeastSampleBytes ? null : Measure(directoryFd, directory, (ulong)sampleBytes)) is not { } measured)
        {
            log.Warn("estimate", $"{directory}: there is no room to measure how fast it is; times are told as for {Assumed.BytesPerSecond >> 20} MiB/s");
            return Assumed;
        }

        log.Info("estimate", $"{directory}: {measured.BytesPerSecond >> 20} MiB/s, {measured.DurableBytesPerSecond >> 20} MiB/s more until it is durable, measured with {sampleBytes >> 20} MiB");
        if (sampleBytes < SampleBytes) return measured; // less exact: not to be remembered
        Sys.MakeDirectory(AT_FDCWD, Cache, 0x1ED);
        string text = string.Create(CultureInfo.InvariantCulture, $"{Version} {boot} {Now()} {measured.BytesPerSecond} {measured.DurableBytesPerSecond} {measured.SyncBaseMicroseconds}\n");
        SysResult opened = Sys.OpenAt(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0x1A4);
        if (opened.Failed) return measured; // it is measured again next time
        Sys.WriteAll(opened.Value, Encoding.ASCII.GetBytes(text));
        Sys.Close(opened.Value);
        return measured;
    }

    /// <summary>Reads what was remembered; numbers of devices mean another one after the next start of the machine.</summary>
    /// <param name="text">The file.</param>
    /// <param name="boot">This start's id.</param>
    /// <param name="now">The time, in seconds.</param>
    internal static StoreSpeed? Parse(string text, string boot, long now)
    {
        string[] words = text.Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries);
        if (words.Length != 6 || words[0] != Version || words[1] != boot) return null;
        var numbers = new long[4];
        for (int i = 0; i < numbers.Length; i++)
        {
            if (!long.TryParse(words[i + 2], NumberStyles.None, CultureInfo.InvariantCulture, out numbers[i])) return null;
        }

        return now - numbers[0] is >= 0 and < GoodForSeconds && numbers[1] > 0 && numbers[2] > 0 ? new StoreSpeed(numbers[1], numbers[2], numbers[3]) : null;
    }

    private static StoreSpeed? TryRead(string path, string boot, long now)
    {
        var buffer = new byte[512];
        SysResult read = Sys.ReadFile(AT_FDCWD, path, ref buffer);
        return read.Failed ? null : Parse(Encoding.ASCII.GetString(buffer, 0, read.Value), boot, now);
    }

    private static string BootId()
    {
        var buffer = new byte[64];
        SysResult read = Sys.ReadFile(AT_FDCWD, "/proc/sys/kernel/random/boot_id", ref buffer);
        return read.Failed ? "-" : Encoding.ASCII.GetString(buffer, 0, read.Value).Trim();
    }

    /// <summary>Where nothing can be measured: a plain disk.</summary>
    private static StoreSpeed Assumed { get; } = new(500L << 20, 500L << 20, 10_000);

    /// <summary>At most a quarter of what is free, in whole pages: others write there, too.</summary>
    private static long SampleFor(int directoryFd) =>
        ImageFileCalls.TryGetSpace(directoryFd, out long free, out _) ? Math.Min(SampleBytes, free / 4 & ~((long)PageSize - 1)) : SampleBytes;

    /// <summary>Null when the room is not there after all (a quota), or the file system has no files without a name.</summary>
    private static StoreSpeed? Measure(int directoryFd, string directory, ulong sampleBytes)
    {
        SysResult opened = Sys.OpenAt(directoryFd, ".", O_TMPFILE | O_RDWR, 0x180);
        if (opened.Errno is Errno.EOPNOTSUPP or Errno.EISDIR or Errno.ENOSPC or Errno.EDQUOT) return null;
        if (opened.Failed)
        {
            throw new CheckpointException(ErrorCode.ImagesDirectory, "the images directory cannot be written to")
            {
                Object = directory,
                Errno = opened.Errno,
                Remedy = "Choose an images directory that can be written to (-D).",
            };
        }

        using var file = new OwnedFd(opened.Value);
        try
        {
            return Measure(file, directory, sampleBytes);
        }
        catch (CheckpointException full) when (full.Code == ErrorCode.NoSpace)
        {
            return null;
        }
    }

    private static StoreSpeed Measure(OwnedFd file, string directory, ulong sampleBytes)
    {
        ulong memory = (ulong)Sys.Mmap(0, sampleBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0).OrThrow("mmap", "memory to measure with");
        try
        {
            Touch(memory, sampleBytes);
            int own = Sys.GetPid();
            ProcDirectory proc = ProcDirectory.TryOpen(own)!;
            using var self = new DumpProcess(own, proc, proc.Stat()!) { IsEngine = true };
            using var copier = new PageCopier();
            List<PageRun> all = [new PageRun(memory, memory + sampleBytes, 0, false)];
            var watch = new StopwatchLap();
            long copied = long.MaxValue; // the best: others may be at work, and the first time wakes everything up
            for (int i = 0; i < Samples; i++)
            {
                Sys.Truncate(file.Fd, 0);
                watch.Lap();
                copier.Copy(self, all, file.Fd, directory);
                copied = Math.Clamp(watch.Lap(), 1, copied);
            }

            Sys.Sync(file.Fd);
            long durable = Math.Max(1, watch.Lap());
            Sys.PWrite(file.Fd, [1], 0);
            watch.Lap();
            Sys.Sync(file.Fd);
            long syncBase = watch.Lap();
            return new StoreSpeed((long)(sampleBytes * 1e6 / copied), (long)(sampleBytes * 1e6 / Math.Max(1, durable - syncBase)), syncBase);
        }
        finally
        {
            Sys.Munmap(memory, sampleBytes);
        }
    }

    private static long Now() => (long)Sys.Clock(0 /* CLOCK_REALTIME */).Seconds;

    private static unsafe void Touch(ulong memory, ulong sampleBytes)
    {
        for (ulong at = 0; at < sampleBytes; at += PageSize) *(ulong*)(memory + at) = at;
    }
}
