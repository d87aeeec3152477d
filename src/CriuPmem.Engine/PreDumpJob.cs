using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;
using CriuPmem.Engine.Transfer;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine;

/// <summary>A pre-dump: the memory of a tree, saved while it runs, for a dump that saves only what was written since.</summary>
/// <remarks>
/// <code>
/// freeze: trackers ─► run: protect and list pages ─► freeze, run (a pause) ─► copy pages ─► images, holder of the trackers
/// </code>
/// Both freezes take milliseconds, whatever the size; the second only lets reads from devices end that began before the
/// pages were protected (<see cref="WriteTracker"/>).
/// </remarks>
public static class PreDumpJob
{
    /// <summary>Pre-dumps; returns when the images are durable. The tree runs.</summary>
    /// <exception cref="CheckpointException">Nothing was saved; the tree runs as it did.</exception>
    public static DumpResult Run(DumpOptions options) => TracerThread.Run("pre-dump", () => Execute(options));

    private static DumpResult Execute(DumpOptions options)
    {
        var watch = new StopwatchLap();
        using var alone = DirectoryLock.Take(options.ImagesDirectoryFd, options.ImagesDirectory, exclusive: true);
        using EarlierSnapshot? earlier = EarlierSnapshot.Open(options);
        var snapshot = new SnapshotWriter(options.ImagesDirectoryFd, options.ImagesDirectory) { Recycle = options.Recycle };
        using var output = new PagesOutput(snapshot, options, new PagesIds(), runsOn: false);
        using IPageStore store = PageStores.Open(options, snapshot, output, isContinued: true);
        using var memory = new MemoryDump(store);
        snapshot.Begin(options.Sync);
        TrackingEntry? tracking = null;
        FrozenTree? tree = null;
        try
        {
            if (options.PreviousImages is { } parent) snapshot.LinkParent(parent);
            AddressSpaceDump.Prepare(options.Pid);
            watch.Lap();
            tree = FrozenTree.Freeze(options.Pid, options.TimeoutSeconds, options.Log);
            long freezing = watch.Lap();
            earlier?.TakeTrackers(tree, options.Log);
            List<DumpProcess> owners = MemoryTracking.Begin(tree, takeOver: true)!;
            tree.Release(FinalState.Running);
            long frozen = watch.Lap();
            // What is protected anew counts from this round on, and would be missing in any other that followed the same one.
            TrackingHolder.End(earlier?.Tracking);
            var plans = owners.ConvertAll(process => (process, Plan: memory.Plan(process, memory.EarlierPages(earlier, process), protect: true, running: true)));
            watch.Lap();
            MemoryTracking.Pause(options);
            frozen += watch.Lap();
            foreach ((DumpProcess process, PagePlan plan) in plans) memory.Save(process, plan, running: true);
            store.Finish();
            long copied = watch.Lap();
            CheckAlive(tree.Root);
            Interruption.Check();
            tracking = TrackingHolder.Start(tree, owners);
            snapshot.Commit(TreeWriter.Inventory(new SharedObjects().EngineIds, tracking, options.Compression is not null, earlier), options.Sync);
            Interruption.Hold();
            snapshot.Keep()();
            if (options.AutoDedup) DedupJob.TryFreeEarlier(options.ImagesDirectoryFd, options.ImagesDirectory, options.Log);
            options.Log.Info("pre-dump", $"frozen for {frozen} us, memory copied in {copied} us while it ran");
            WriteStatistics(options, memory, freezing, frozen, copied);
            return new DumpResult
            {
                Processes = tree.Processes.Count,
                Threads = tree.Processes.Sum(process => process.Threads.Count),
                MemoryBytes = memory.WrittenPages * (long)PageSize,
                FreezingMicroseconds = freezing,
                FrozenMicroseconds = frozen,
                TotalMicroseconds = watch.Total,
            };
        }
        catch
        {
            TrackingHolder.End(tracking);
            snapshot.Abandon();
            throw;
        }
        finally
        {
            tree?.Dispose();
        }
    }

    private static void CheckAlive(DumpProcess root)
    {
        if (root.Proc.Stat() is { State: not ('Z' or 'X') }) return;
        throw root.Fail(ErrorCode.Vanished, "it ended while its memory was saved");
    }

    private static void WriteStatistics(DumpOptions options, MemoryDump memory, long freezing, long frozen, long copied)
    {
        var stats = new DumpStatsEntry
        {
            FreezingTime = (uint)freezing,
            FrozenTime = (uint)frozen,
            MemdumpTime = (uint)copied,
            MemwriteTime = (uint)copied,
            PagesScanned = (ulong)memory.ScannedPages,
            PagesSkippedParent = (ulong)memory.ParentPages,
            PagesWritten = (ulong)memory.WrittenPages,
            PagesLazy = 0,
        };
        Statistics.Write(options.WorkDirectoryFd, new StatsEntry { Dump = stats }, ImageKind.StatsDump);
    }
}
