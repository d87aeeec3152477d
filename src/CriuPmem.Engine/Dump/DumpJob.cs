using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;
using CriuPmem.Engine.Transfer;
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
        var snapshot = new SnapshotWriter(options.ImagesDirectoryFd, options.ImagesDirectory) { Recycle = options.Recycle };
        using EarlierSnapshot? earlier = EarlierSnapshot.Open(options);
        using var output = new PagesOutput(snapshot, options, new PagesIds(), runsOn: options.FinalState == FinalState.Running);
        IPageStore local = PageStores.Open(options, snapshot, output, isContinued: options.TrackMemory);
        using LazyDump? lazy = LazyDump.Open(options, ref local);
        using IPageStore store = local;
        using var memory = new MemoryDump(store);
        using IMemorySaver saver = Saver(options, snapshot, output, memory, earlier);
        var workingSet = new WorkingSet(options.ImagesDirectoryFd, earlier);
        snapshot.Begin(options.Sync);
        DumpContext? context = null;
        TrackingEntry? tracking = null;
        try
        {
            if (options.PreviousImages is { } parent) snapshot.LinkParent(parent);
            AddressSpaceDump.Prepare(options.Pid);
            saver.Prepare();
            using var quiet = new NoCollections();
            watch.Lap();
            using FrozenTree tree = FrozenTree.Freeze(options.Pid, options.TimeoutSeconds, options.Log);
            long freezing = watch.Lap();
            context = new DumpContext(options, tree, snapshot);
            using SideThread side = context.Side; // ends before the tree is let go
            saver.Begin(tree);
            var writer = new TreeWriter(context, saver);
            writer.Observe();
            long observed = watch.Lap();
            saver.Save(tree, context);
            context.Side.Finish();
            writer.SaveContents();
            long copied = watch.Lap();
            // What is left needs the tree no more, unless somebody acts at post-dump and counts on it standing still.
            bool runsOn = options.FinalState == FinalState.Running && !options.HasHooks && lazy is null;
            if (runsOn) tree.Release(FinalState.Running);
            long released = watch.Lap();
            saver.Finish();
            store.Finish();
            writer.Write();
            if (options.TrackMemory && options.FinalState != FinalState.Killed) tracking = TrackingHolder.TryStart(tree, [.. tree.MemoryOwners.Where(process => process.Tracker is not null)]);
            snapshot.Commit(writer.Inventory(tracking, earlier), options.Sync);
            SnapshotSender? stream = Send(options);
            long frozen = observed + copied + released + (runsOn ? 0 : watch.Lap());
            options.Log.Info("dump", $"frozen for {frozen} us: observed in {observed} us, memory copied in {copied} us; freezing took {freezing} us");
            options.Log.Debug("dump", $"{GC.CollectionCount(0)} garbage collections, {GC.GetTotalAllocatedBytes() >> 10} KiB allocated");
            WriteStatistics(options, saver, freezing, frozen, copied, lazy?.Pages ?? 0);
            Hook(options, "post-dump", options.Pid);
            if (lazy is not null) alone.Share(); // whoever fetches reads the images
            lazy?.Serve();
            int threads = tree.Processes.Sum(process => process.Threads.Count);
            Interruption.Check();
            stream?.End();
            Interruption.Hold();
            Action removeReplaced = snapshot.Keep(); // from here on the images may be all that is left of the tree
            tree.Release(options.FinalState);
            removeReplaced();
            workingSet.Save(options.ImagesDirectoryFd, saver.WrittenLately, options.Log);
            if (options.AutoDedup) DedupJob.TryFreeEarlier(options.ImagesDirectoryFd, options.ImagesDirectory, options.Log);
            Outsiders.Warn(tree, options.Log);
            return new DumpResult
            {
                Processes = tree.Processes.Count,
                Threads = threads,
                MemoryBytes = saver.Pages.Written * (long)PageSize,
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

    /// <summary>Sends the images; without the end mark, which comes when nothing can fail any more, they are no snapshot.</summary>
    private static SnapshotSender? Send(DumpOptions options)
    {
        if (options.StreamFd < 0) return null;
        var stream = new SnapshotSender(options.StreamFd);
        stream.SendFiles(new SnapshotReader(options.ImagesDirectoryFd, options.ImagesDirectory));
        options.Log.Info("stream", $"{stream.SentBytes >> 10} KiB sent");
        return stream;
    }

    private static void WriteStatistics(DumpOptions options, IMemorySaver saver, long freezing, long frozen, long copied, long lazyPages)
    {
        (long written, long inParent, long scanned) = saver.Pages;
        var stats = new DumpStatsEntry
        {
            FreezingTime = (uint)freezing,
            FrozenTime = (uint)frozen,
            MemdumpTime = (uint)copied,
            MemwriteTime = (uint)copied,
            PagesScanned = (ulong)scanned,
            PagesSkippedParent = (ulong)inParent,
            PagesWritten = (ulong)written,
            PagesLazy = (ulong)lazyPages,
        };
        Statistics.Write(options.WorkDirectoryFd, new StatsEntry { Dump = stats }, ImageKind.StatsDump);
    }

    private static IMemorySaver Saver(DumpOptions options, SnapshotWriter snapshot, PagesOutput output, MemoryDump memory, EarlierSnapshot? earlier) =>
        !Live(options) ? new FrozenMemory(options, snapshot, memory, earlier)
        : options.TrackMemory || earlier is not null ? new LiveMemory(options, output, earlier) // twins would not tell what is written after the fork
        : options.LiveMode switch
        {
            LiveMode.Copy => new LiveMemory(options, output),
            LiveMode.Twins => new TwinMemory(options, output),
            _ => new RunningMemory(options, output),
        };

    /// <summary>Whether memory is copied while the tree runs: as the user says, else where it goes on running and has some.</summary>
    private static bool Live(DumpOptions options)
    {
        if (options.DedupPages) return false; // what is in common can be told while the tree stands still
        if (options.Live is { } wanted) return wanted;
        if (options.FinalState != FinalState.Running || options.PageServer is not null || options.Lazy is not null) return false;
        // Without --track-mem others may continue the snapshot before as well: what it tracks is left as it is.
        if (options.PreviousImages is not null && !options.TrackMemory) return false;
        using ProcDirectory? root = ProcDirectory.TryOpen(options.Pid);
        return root?.Status() is { AnonymousKib: >= LiveMemory.WorthwhileBytes >> 10 };
    }

    private static void Hook(DumpOptions options, string name, int pid)
    {
        bool agreed = options.OnHook(name, pid);
        Interruption.CheckArrived(); // a Ctrl-C ends the action too
        if (!agreed) throw new CheckpointException(ErrorCode.ActionRefused, $"the {name} action said no") { Pid = pid };
    }
}
