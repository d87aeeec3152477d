using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine;

/// <summary>A dump: from a running tree to a complete, durable images directory.</summary>
public static class DumpJob
{
    /// <summary>Dumps; returns when the images are durable and the tree is in its final state.</summary>
    /// <exception cref="CheckpointException">Nothing was saved; the tree runs as it did.</exception>
    public static DumpResult Run(DumpOptions options) => TracerThread.Run("dump", () => Execute(options));

    private static DumpResult Execute(DumpOptions options)
    {
        var watch = new StopwatchLap();
        Hook(options, "pre-dump", options.Pid);
        var snapshot = new SnapshotWriter(options.ImagesDirectoryFd, options.ImagesDirectory);
        using var copier = new PageCopier();
        snapshot.Begin();
        DumpContext? context = null;
        using var quiet = new NoCollections();
        try
        {
            watch.Lap();
            using FrozenTree tree = FrozenTree.Freeze(options.Pid, options.TimeoutSeconds, options.Log);
            long freezing = watch.Lap();
            context = new DumpContext(options, tree, snapshot);
            using var memory = new MemoryDump(context);
            var writer = new TreeWriter(context);
            writer.Observe();
            long observed = watch.Lap();
            foreach (DumpProcess process in tree.Processes)
            {
                if (!process.IsZombie && process.MemoryOwner is null) memory.Save(process, copier);
            }

            long sharedPages = context.SharedMemory.Save(copier);
            long copied = watch.Lap();
            writer.Write();
            snapshot.Commit(writer.Inventory(), options.Sync);
            long frozen = observed + copied + watch.Lap();
            options.Log.Info("dump", $"frozen for {frozen} us: observed in {observed} us, memory copied in {copied} us; freezing took {freezing} us");
            options.Log.Debug("dump", $"{GC.CollectionCount(0)} garbage collections, {GC.GetTotalAllocatedBytes() >> 10} KiB allocated");
            var stats = new DumpStatsEntry
            {
                FreezingTime = (uint)freezing,
                FrozenTime = (uint)frozen,
                MemdumpTime = (uint)copied,
                MemwriteTime = (uint)copied,
                PagesScanned = (ulong)memory.ScannedPages,
                PagesSkippedParent = 0,
                PagesWritten = (ulong)(memory.WrittenPages + sharedPages),
                PagesLazy = 0,
            };
            Statistics.Write(options.WorkDirectoryFd, new StatsEntry { Dump = stats }, ImageKind.StatsDump);
            Hook(options, "post-dump", options.Pid);
            int threads = tree.Processes.Sum(process => process.Threads.Count);
            tree.Release(options.FinalState);
            return new DumpResult
            {
                Processes = tree.Processes.Count,
                Threads = threads,
                MemoryBytes = (memory.WrittenPages + sharedPages) * (long)PageSize,
                FreezingMicroseconds = freezing,
                FrozenMicroseconds = frozen,
                TotalMicroseconds = watch.Total,
            };
        }
        catch
        {
            context?.Deleted.Undo();
            snapshot.Abandon();
            throw;
        }
        finally
        {
            context?.Dispose();
        }
    }

    private static void Hook(DumpOptions options, string name, int pid)
    {
        if (!options.OnHook(name, pid)) throw new CheckpointException(ErrorCode.ActionRefused, $"the {name} action said no") { Pid = pid };
    }
}
