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
        using var alone = DirectoryLock.Take(options.ImagesDirectoryFd, options.ImagesDirectory, exclusive: true);
        var snapshot = new SnapshotWriter(options.ImagesDirectoryFd, options.ImagesDirectory);
        using EarlierSnapshot? earlier = EarlierSnapshot.Open(options);
        snapshot.Begin(options.Sync);
        DumpContext? context = null;
        TrackingEntry? tracking = null;
        using var quiet = new NoCollections();
        try
        {
            if (options.PreviousImages is { } parent) snapshot.LinkParent(parent);
            watch.Lap();
            using FrozenTree tree = FrozenTree.Freeze(options.Pid, options.TimeoutSeconds, options.Log);
            long freezing = watch.Lap();
            context = new DumpContext(options, tree, snapshot);
            using var memory = new MemoryDump(snapshot, options.ImagesDirectory, context.PagesIds);
            earlier?.TakeTrackers(tree, options.Log);
            var writer = new TreeWriter(context);
            writer.Observe();
            long observed = watch.Lap();
            List<DumpProcess> owners = tree.Processes.FindAll(process => !process.IsZombie && process.MemoryOwner is null);
            bool track = options.TrackMemory && options.FinalState != FinalState.Killed;
            // What is protected anew counts from this round on, and would be missing in any other that followed the same one.
            if (track) TrackingHolder.End(earlier?.Tracking);
            foreach (DumpProcess process in owners) SaveMemory(memory, process, earlier, track);
            long sharedPages = context.SharedMemory.Save(memory.Copier);
            long copied = watch.Lap();
            writer.Write();
            if (track) tracking = TrackingHolder.Start(tree, owners.FindAll(process => process.Tracker is not null));
            snapshot.Commit(writer.Inventory(tracking), options.Sync);
            TrackingHolder.End(earlier?.Tracking);
            if (options.AutoDedup) DedupJob.Run(options.ImagesDirectoryFd, options.ImagesDirectory, options.Log);
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
                PagesSkippedParent = (ulong)memory.ParentPages,
                PagesWritten = (ulong)(memory.WrittenPages + sharedPages),
                PagesLazy = 0,
            };
            Statistics.Write(options.WorkDirectoryFd, new StatsEntry { Dump = stats }, ImageKind.StatsDump);
            Hook(options, "post-dump", options.Pid);
            int threads = tree.Processes.Sum(process => process.Threads.Count);
            Interruption.Check();
            Interruption.Hold();
            Action removeReplaced = snapshot.Keep(); // from here on the images may be all that is left of the tree
            tree.Release(options.FinalState);
            removeReplaced();
            Outsiders.Warn(tree, options.Log);
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
            TrackingHolder.End(tracking);
            context?.Deleted.Undo();
            snapshot.Abandon();
            throw;
        }
        finally
        {
            context?.Dispose();
        }
    }

    private static void SaveMemory(MemoryDump memory, DumpProcess process, EarlierSnapshot? earlier, bool track)
    {
        Interruption.Check();
        process.Tracker?.Recognize(process);
        SavedPages? known = earlier?.PagesOf(process);
        if (track && (process.Tracker ??= WriteTracker.TryCreate(process)) is { } tracker) tracker.Register(process);
        PagePlan plan = memory.Plan(process, known, protect: track);
        memory.Save(process, plan);
        process.Memory.Vmas.AddRange(plan.Guards); // behind the mappings that they lie in
    }

    private static void Hook(DumpOptions options, string name, int pid)
    {
        bool agreed = options.OnHook(name, pid);
        Interruption.Check(); // a Ctrl-C ends the action too
        if (!agreed) throw new CheckpointException(ErrorCode.ActionRefused, $"the {name} action said no") { Pid = pid };
    }
}
