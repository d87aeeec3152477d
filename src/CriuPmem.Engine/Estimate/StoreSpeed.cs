using System.Globalization;
using System.Text;
using CriuPmem.Engine.Memory;

namespace CriuPmem.Engine.Estimate;

/// <summary>How fast memory goes into a directory and back: measured once by moving some as a dump and a restore do, and remembered for its device.</summary>
internal sealed record StoreSpeed
{
    private const string Cache = "/var/cache/criu-pmem";
    private const string Version = "2";
    private const int Words = 9;
    private const long SampleBytes = 64 << 20;
    private const long LeastSampleBytes = 4 << 20;
    private const long GoodForSeconds = 24 * 3600; // the speed of a disk changes as it fills

    /// <summary>Copying from outside, in bytes per second.</summary>
    public required long CopyRate { get; init; }

    /// <summary>Copying of a process that does it itself (<see cref="TaskCopy"/>), where that is done.</summary>
    public required long OwnCopyRate { get; init; }

    /// <summary>Until what is copied is durable, from then on.</summary>
    public required long DurableRate { get; init; }

    /// <summary>Making nothing durable.</summary>
    public required long SyncBaseMicroseconds { get; init; }

    /// <summary>Reading it back into memory that is new.</summary>
    public required long ReadRate { get; init; }

    /// <summary>Giving memory back, in small pages.</summary>
    public required long ReleaseRate { get; init; }

    /// <summary>How long it takes until so much is durable, once it is copied.</summary>
    public long SyncMicroseconds(long bytes) => SyncBaseMicroseconds + (long)(bytes * 1e6 / DurableRate);

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
            log.Warn("estimate", $"{directory}: there is no room to measure how fast it is; times are told as for {Assumed.CopyRate >> 20} MiB/s");
            return Assumed;
        }

        log.Info("estimate", $"{directory}: {measured.CopyRate >> 20} MiB/s ({measured.OwnCopyRate >> 20} of a process that copies itself), {measured.DurableRate >> 20} more until it is durable, {measured.ReadRate >> 20} back, {measured.ReleaseRate >> 20} given back, measured with {sampleBytes >> 20} MiB");
        if (sampleBytes < SampleBytes) return measured; // less exact: not to be remembered
        Sys.MakeDirectory(AT_FDCWD, Cache, 0x1ED);
        string text = string.Create(CultureInfo.InvariantCulture, $"{Version} {boot} {Now()} {measured.CopyRate} {measured.OwnCopyRate} {measured.DurableRate} {measured.SyncBaseMicroseconds} {measured.ReadRate} {measured.ReleaseRate}\n");
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
        if (words.Length != Words || words[0] != Version || words[1] != boot) return null;
        var numbers = new long[Words - 2];
        for (int i = 0; i < numbers.Length; i++)
        {
            if (!long.TryParse(words[i + 2], NumberStyles.None, CultureInfo.InvariantCulture, out numbers[i])) return null;
            if (numbers[i] == 0 && i is not (0 or 4)) return null; // all but the times are divided by
        }

        if (now - numbers[0] is not (>= 0 and < GoodForSeconds)) return null;
        return new StoreSpeed { CopyRate = numbers[1], OwnCopyRate = numbers[2], DurableRate = numbers[3], SyncBaseMicroseconds = numbers[4], ReadRate = numbers[5], ReleaseRate = numbers[6] };
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
    private static StoreSpeed Assumed { get; } = new() { CopyRate = 500L << 20, OwnCopyRate = 500L << 20, DurableRate = 500L << 20, SyncBaseMicroseconds = 10_000, ReadRate = 1L << 30, ReleaseRate = 8L << 30 };

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
            return new StoreSample(file, directory, sampleBytes).Measure();
        }
        catch (CheckpointException full) when (full.Code == ErrorCode.NoSpace)
        {
            return null;
        }
    }

    private static long Now() => (long)Sys.Clock(0 /* CLOCK_REALTIME */).Seconds;
}
