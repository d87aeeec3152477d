using CriuPmem.Engine.Lazy;
using CriuPmem.Engine.Resources;
using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine;

/// <summary>A restore: from an images directory to a running tree.</summary>
public static class RestoreJob
{
    /// <summary>Restores; returns when the tree runs (it does not wait for its end: the caller does).</summary>
    /// <exception cref="CheckpointException">Nothing was left behind, and the images are untouched.</exception>
    public static RestoreResult Run(RestoreOptions options) => TracerThread.Run("restore", () => Execute(options));

    private static RestoreResult Execute(RestoreOptions options)
    {
        var watch = new StopwatchLap();
        PutInOrder(options);
        using var reading = DirectoryLock.Take(options.ImagesDirectoryFd, options.ImagesDirectory, exclusive: false);
        var reader = new SnapshotReader(options.ImagesDirectoryFd, options.ImagesDirectory);
        SnapshotContents contents = SnapshotContents.Load(reader);
        SnapshotValidator.Check(contents, options.ImagesDirectory);
        CpuInfo.Check(contents.Cpuinfo, options);
        using var context = new RestoreContext(options, reader, contents);
        if (!options.LazyPages) LazyRuns.RequireNone(contents);
        RestoreTree.Plan(context);
        context.Lazy.Connect();
        context.Files.OpenInherited();
        Hook(options, "pre-restore", 0);
        try
        {
            return Build(context, watch);
        }
        catch (CheckpointException failure) when (failure.Code is ErrorCode.Vanished or ErrorCode.RestoredDied)
        {
            throw context.Lazy.Cause(failure);
        }
    }

    private static RestoreResult Build(RestoreContext context, StopwatchLap watch)
    {
        RestoreOptions options = context.Options;
        using var tree = new TreeBuilder(context);
        tree.Build();
        long forking = watch.Lap();
        Hook(options, "post-restore", context.Root.Pid);
        tree.RequireAlive("post-restore");
        // By then the restore has been agreed to: what these two answer changes nothing (criu(8)).
        _ = options.OnHook("pre-resume", context.Root.Pid);
        tree.RequireAlive("pre-resume");
        Interruption.Check();
        Interruption.Hold();
        context.Lazy.Finish();
        tree.Commit();
        if (context.Lazy.Bytes > 0) context.Log.Info("lazy", $"the tree runs after {watch.Total / 1000} ms");
        _ = options.OnHook("post-resume", context.Root.Pid);
        var stats = new RestoreStatsEntry
        {
            PagesCompared = (ulong)tree.Memory.ComparedPages,
            PagesSkippedCow = (ulong)tree.Memory.SharedPages,
            ForkingTime = (uint)forking,
            RestoreTime = (uint)watch.Total,
            PagesRestored = (ulong)(tree.Memory.RestoredBytes / (long)PageSize),
        };
        Statistics.Write(options.WorkDirectoryFd, new StatsEntry { Restore = stats }, ImageKind.StatsRestore);
        return new RestoreResult
        {
            RootPid = context.Root.Pid,
            Processes = context.Processes.Count,
            Threads = context.Processes.Sum(process => process.Threads.Count),
            MemoryBytes = tree.Memory.RestoredBytes,
            LaterBytes = context.Lazy.Bytes,
            TotalMicroseconds = watch.Total,
        };
    }

    /// <summary>A dump that died while it replaced one snapshot by another left a directory without inventory: one of the two is whole.</summary>
    private static void PutInOrder(RestoreOptions options)
    {
        if (!SnapshotSwap.NeedsRecovery(options.ImagesDirectoryFd)) return;
        using var alone = DirectoryLock.Take(options.ImagesDirectoryFd, options.ImagesDirectory, exclusive: true);
        SnapshotSwap.Recover(options.ImagesDirectoryFd, sync: true, (action, name, errno) => new CheckpointException(
            ErrorCode.ImagesDirectory, $"cannot {action} {name}, to bring a snapshot into order whose dump was cut off")
        {
            Object = options.ImagesDirectory,
            Errno = errno,
            Remedy = "Make the directory writable, or copy it to where it is",
        });
    }

    private static void Hook(RestoreOptions options, string name, int pid)
    {
        bool agreed = options.OnHook(name, pid);
        Interruption.CheckArrived(); // a Ctrl-C ends the action too
        if (!agreed) throw new CheckpointException(ErrorCode.ActionRefused, $"the {name} action said no") { Pid = pid };
    }
}
