using CriuPmem.Engine.Estimate;

namespace CriuPmem.Engine;

/// <summary>Tells what a dump of a tree would cost; the tree runs on meanwhile and is not touched.</summary>
public static class EstimateJob
{
    /// <summary>Estimates.</summary>
    /// <exception cref="CheckpointException">There is no such process, or the directory cannot be written to.</exception>
    public static EstimateResult Run(EstimateOptions options)
    {
        TreeCount count = TreeCount.Of(options.Pid, options.GhostLimitBytes);
        StoreSpeed speed = StoreSpeed.Of(options.ImagesDirectoryFd, options.ImagesDirectory, options.Log);
        double calls = CallSpeed.Factor();
        options.Log.Info("estimate", $"system calls take {calls:0.00} times as long as where the model was made");
        var model = new TimeModel(count, speed, Sys.FileSystemMagic(options.ImagesDirectoryFd) == TMPFS_MAGIC, calls, options.Sync);
        ImageFileCalls.TryGetSpace(options.ImagesDirectoryFd, out long free, out _);
        return new EstimateResult
        {
            Processes = count.Processes,
            Threads = count.Threads,
            Mappings = count.Mappings,
            Descriptors = count.Descriptors,
            MemoryBytes = count.MemoryBytes,
            SnapshotBytes = count.SnapshotBytes,
            FreeBytes = free,
            DumpMicroseconds = model.DumpMicroseconds,
            DumpRunningMicroseconds = model.DumpRunningMicroseconds,
            FrozenMicroseconds = model.FrozenMicroseconds,
            FrozenRunningMicroseconds = model.FrozenRunningMicroseconds,
            RestoreMicroseconds = model.RestoreMicroseconds,
            BytesPerSecond = speed.CopyRate,
        };
    }
}
