using CriuPmem.Engine.Check;
using CriuPmem.Engine.Estimate;
using CriuPmem.Engine.Memory;
using CriuPmem.Engine.Pmem;

namespace CriuPmem.Engine;

/// <summary>Tells what a directory offers: persistent memory or not, on which devices, how fast, and what a dump will do there.</summary>
public static class PmemJob
{
    private const int MAP_SHARED_VALIDATE = 3, MAP_SYNC = 0x80000;

    /// <summary>Looks, and measures with a file without a name.</summary>
    /// <param name="directoryFd">The directory, open.</param>
    /// <param name="directory">Its name for messages.</param>
    /// <param name="log">Where it tells what it does.</param>
    /// <exception cref="CheckpointException">The directory is gone, or a signal ended it.</exception>
    public static PmemReport Run(int directoryFd, string directory, EngineLog log)
    {
        Sys.Stat(directoryFd, out FileStat stat).OrThrow("fstat", directory);
        MountInfo? mount = MountInfo.Of(directoryFd);
        PersistentMemoryKind kind = PersistentMemory.Of(directoryFd);
        StoreSpeed? speed = Measure(directoryFd, directory, log);
        BlockDevice? device = new BlockDevices().Of(stat.st_dev);
        return new PmemReport
        {
            FileSystem = mount?.FileSystem ?? "unknown",
            MountPoint = mount?.MountPoint ?? "",
            MountOptions = mount?.Options ?? "",
            Kind = kind,
            HasMapSync = HasMapSync(directoryFd),
            Device = device,
            WriteRate = speed?.CopyRate,
            DurableRate = speed is null ? null : (long)(1 / (1.0 / speed.CopyRate + 1.0 / speed.DurableRate)),
            ReadRate = speed?.ReadRate,
            Dump = CopyWays.Describe(kind),
            Advice = speed is null ? "choose a directory that can be written to" : Advise(kind, device),
        };
    }

    private static StoreSpeed? Measure(int directoryFd, string directory, EngineLog log)
    {
        try
        {
            return StoreSpeed.Of(directoryFd, directory, log);
        }
        catch (CheckpointException failure) when (failure.Code == ErrorCode.ImagesDirectory)
        {
            log.Info("pmem", $"{directory}: {failure.Message}");
            return null;
        }
    }

    private static bool? HasMapSync(int directoryFd)
    {
        SysResult opened = Sys.OpenAt(directoryFd, ".", O_TMPFILE | O_RDWR, 0x180);
        if (opened.Failed) return null;
        using var file = new OwnedFd(opened.Value);
        if (Sys.Truncate(file.Fd, (long)PageSize).Failed) return null;
        SysResult mapped = Sys.Mmap(0, PageSize, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, file.Fd, 0);
        if (!mapped.Failed) Sys.Munmap((ulong)mapped.Raw, PageSize);
        return !mapped.Failed;
    }

    private static string? Advise(PersistentMemoryKind kind, BlockDevice? device) => kind switch
    {
        PersistentMemoryKind.Tmpfs => "a tmpfs stands in for persistent memory: it is as fast, and gone when the power fails",
        PersistentMemoryKind.Dax => Leaves(device).Any(static leaf => leaf.BadRanges > 0) ? "the device has damaged ranges: ndctl list --media-errors tells where" : null,
        _ when device is { HasDax: true } => "its device can do DAX: mount the file system with -o dax (ext4 wants blocks of 4096 bytes: mkfs.ext4 -b 4096; xfs before Linux 6.2 no reflink: mkfs.xfs -m reflink=0)",
        _ when device is { IsPersistentMemory: true } => $"its persistent memory is used as {string.Join(", ", Leaves(device).Select(static leaf => leaf.Mode).Distinct())}, which has no DAX: save what is on it, then ndctl create-namespace -f -e {Leaves(device).First().Namespace} -m fsdax",
        _ => null,
    };

    private static IEnumerable<BlockDevice> Leaves(BlockDevice? device) =>
        device is null ? [] : device.MadeOf.Count == 0 ? [device] : device.MadeOf.SelectMany(Leaves);
}
