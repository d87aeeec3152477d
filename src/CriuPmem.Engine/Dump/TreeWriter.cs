using CriuPmem.Engine.Memory;
using CriuPmem.Engine.Resources;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;
using Google.Protobuf;

namespace CriuPmem.Engine.Dump;

/// <summary>Observes every process of a frozen tree, then writes its images.</summary>
/// <remarks>
/// In a larger tree the side thread reads what /proc tells a little ahead, and writes what is complete: nothing of a
/// process's tasks changes once they are observed, nothing of its memory once its mappings are described.
/// </remarks>
internal sealed class TreeWriter(DumpContext context, IMemorySaver saver)
{
    private readonly Dictionary<DumpProcess, List<FdinfoEntry>> _descriptors = [];
    private readonly Dictionary<DumpProcess, FsEntry> _fs = [];
    private readonly SharedObjects _objects = new();
    private readonly SeccompEntry _seccomp = new();
    private readonly HashSet<DumpProcess> _savedAhead = [];
    private TimensEntry? _clocks;

    /// <summary>Learns everything but the contents of memory; finds every reason to refuse.</summary>
    public void Observe()
    {
        context.Locks.LookAhead();
        if (context.Side.IsActive) ReadAhead();
        foreach (DumpProcess process in context.Tree.Processes)
        {
            Interruption.Check();
            _objects.Identify(process);
            if (process.IsZombie) continue;
            ObserveTasks(process);
            if (!context.Side.IsActive) continue;
            if (process.MemoryOwner is null) AddressSpaceDump.ReadAhead(context, process);
            context.Side.Post(() => WriteTasks(process));
        }

        foreach (DumpProcess process in context.Tree.Processes)
        {
            if (process.IsZombie) continue;
            Interruption.Check();
            if (process.MemoryOwner is null) AddressSpaceDump.Describe(context, process);
            if (_objects.IsFirst(process, SharedObjects.Kind.Files)) _descriptors[process] = context.Files.Descriptors(process);
            _fs[process] = new FsEntry
            {
                CwdId = context.Files.IdOfPath(process, "cwd", O_DIRECTORY, "its working directory"),
                RootId = context.Files.IdOfPath(process, "root", O_DIRECTORY, "its root directory"),
                Umask = process.Leader.Status.Umask,
            };
            if (process.MemoryOwner is null && context.Side.IsActive) SaveMemoryAhead(process);
        }

        foreach (Action resolve in context.WhenFilesAreKnown) resolve();
        context.External.WarnOfUnused();
    }

    /// <summary>Saves what lies in pipes, queues and deleted files; the tree still stands.</summary>
    public void SaveContents()
    {
        foreach (Action contents in context.Contents) contents();
        _clocks = Clocks.Dump(context.Tree.Root);
    }

    /// <summary>Writes all images but pages and inventory.</summary>
    public void Write()
    {
        SnapshotWriter snapshot = context.Snapshot;
        using (ImageWriter pstree = snapshot.Create(ImageKind.Pstree))
        {
            foreach (DumpProcess process in context.Tree.Processes) pstree.Add(TreeEntry(process));
        }

        foreach (DumpProcess process in context.Tree.Processes)
        {
            Interruption.Check();
            if (process.IsZombie)
            {
                snapshot.WriteSingle(ImageKind.Core, process.Pid, ZombieCore(process));
                continue;
            }

            if (!context.Side.IsActive) WriteTasks(process);
            if (process.MemoryOwner is null && !_savedAhead.Contains(process)) snapshot.WriteSingle(ImageKind.Mm, process.Pid, process.Memory);
            snapshot.WriteSingle(ImageKind.Fs, process.Pid, _fs[process]);
            if (!_descriptors.TryGetValue(process, out List<FdinfoEntry>? descriptors)) continue;
            using ImageWriter fdinfo = snapshot.Create(ImageKind.Fdinfo, process.Ids.FilesId);
            foreach (FdinfoEntry entry in descriptors) fdinfo.Add(entry);
        }

        using (ImageWriter files = snapshot.Create(ImageKind.Files))
        {
            // The peer gives an accepted socket its name only when it comes before its client, and connects only to what came before.
            foreach (FileEntry entry in context.Files.Entries.OrderBy(entry => entry.Usk switch { null or { Peer: 0 } => 0, { Name.Length: 0 } => 2, _ => 1 })) files.Add(entry);
        }

        snapshot.WriteSingle(ImageKind.Seccomp, 0, _seccomp);
        snapshot.WriteSingle(ImageKind.TimeNs, 0, _clocks ?? Clocks.Dump(context.Tree.Root));
        if (context.Options.CpuCapability != CpuCapability.None) snapshot.WriteSingle(ImageKind.Cpuinfo, 0, CpuInfo.Read());
    }

    /// <summary>The inventory, which makes the set complete.</summary>
    /// <param name="tracking">Who goes on tracking memory for the next snapshot; null for nobody.</param>
    /// <param name="earlier">The snapshot that it continues; null for none.</param>
    public InventoryEntry Inventory(TrackingEntry? tracking, EarlierSnapshot? earlier) =>
        Inventory(_objects.EngineIds, tracking, context.Options.Compression is not null, earlier);

    /// <summary>The inventory of a snapshot of any kind.</summary>
    /// <param name="engineIds">The engine's own objects: what equals them lies outside any container.</param>
    /// <param name="tracking">As above.</param>
    /// <param name="compressed">Pages are compressed; where they are, here or in a snapshot that this one continues, other engines refuse it by the version.</param>
    /// <param name="earlier">As above.</param>
    public static InventoryEntry Inventory(TaskKobjIdsEntry engineIds, TrackingEntry? tracking, bool compressed, EarlierSnapshot? earlier) => new()
    {
        Tracking = tracking,
        ParentRunId = earlier?.RunId ?? "",
        ImgVersion = compressed || earlier is { IsCompressed: true } ? CompressedPagesFormat.InventoryVersion : 2,
        FdinfoPerId = true,
        RootIds = engineIds,
        NsPerId = true,
        RootCgSet = 1,
        Lsmtype = Lsmtype.NoLsm,
        NetworkLockMethod = 0,
        PluginsEntry = new PluginsEntry(),
        DumpCriuRunId = Guid.NewGuid().ToString(),
    };

    private void ReadAhead()
    {
        foreach (DumpProcess process in context.Tree.Processes)
        {
            if (process.IsZombie) continue;
            process.Facts = new Ahead<ProcessFacts>(() => ProcessFacts.Read(process));
            context.Side.Post(process.Facts.Prepare);
            foreach (DumpThread thread in process.Threads)
            {
                thread.Facts = new Ahead<ThreadFacts>(() => ThreadFacts.Read(process, thread.Task.Tid));
                context.Side.Post(thread.Facts.Prepare);
            }
        }
    }

    private void SaveMemoryAhead(DumpProcess process)
    {
        if (!saver.TrySaveAhead(context, process)) return;
        _savedAhead.Add(process);
        context.Side.Post(() => context.Snapshot.WriteSingle(ImageKind.Mm, process.Pid, process.Memory));
    }

    private void WriteTasks(DumpProcess process)
    {
        foreach (DumpThread thread in process.Threads) context.Snapshot.WriteSingle(ImageKind.Core, thread.ImageTid, thread.Core);
        context.Snapshot.WriteSingle(ImageKind.Ids, process.Pid, process.Ids);
    }

    private PstreeEntry TreeEntry(DumpProcess process)
    {
        var entry = new PstreeEntry
        {
            Pid = (uint)process.Pid,
            Ppid = (uint)(process.Parent?.Pid ?? 0),
            Pgid = (uint)process.Stat.GroupId,
            Sid = (uint)process.Stat.SessionId,
        };
        if (process.IsZombie) entry.Threads.Add((uint)process.Pid);
        foreach (DumpThread thread in process.Threads) entry.Threads.Add((uint)thread.ImageTid);
        if (!context.Options.ShellJob && process.Parent is null && (process.Stat.SessionId != process.Pid))
        {
            throw process.Fail(
                ErrorCode.OutsideTree, $"it belongs to the session of process {process.Stat.SessionId}, which is outside the tree",
                "Add --shell-job for a program started from a shell");
        }

        return entry;
    }

    private void ObserveTasks(DumpProcess process)
    {
        foreach (DumpThread thread in process.Threads)
        {
            int tid = thread.Task.Tid;
            thread.MakeReady();
            CoreEntry core = thread.Core;
            core.Mtype = CoreEntry.Types.March.X8664;
            if (thread.IsLeader) core.Tc = TaskCore(process, thread);
            Seccomp.Dump(thread, _seccomp);
            core.ThreadCore.CgSet = 1; // the root's: control groups are not managed
            RestartableSequence.StepOut(thread);
            InterruptedCall.Rearm(thread);
            core.ThreadInfo = new ThreadInfoX86
            {
                ClearTidAddr = 0,
                Gpregs = Registers.ToEntry(InterruptedCall.ForImage(thread)),
                Fpregs = FpuState.Dump(tid),
            };
            ThreadLocalSegments.Dump(tid, core.ThreadInfo.Tls);
        }

        OpenSpace(process);
        foreach (DumpThread thread in process.Threads) ObserveRemotely(process, thread);
    }

    private static void ObserveRemotely(DumpProcess process, DumpThread thread)
    {
        SyscallBatch batch = process.Space!.Batch;
        batch.Clear();
        var later = new List<Action?>();
        foreach (Resources.TaskState state in TaskStates.OfThread) later.Add(state.Dump(batch, thread));
        if (thread.IsLeader)
        {
            foreach (Resources.TaskState state in TaskStates.OfProcess) later.Add(state.Dump(batch, thread));
            int brk = batch.Must("brk", SyscallNumber.brk, 0);
            int dumpable = batch.Must("prctl(PR_GET_DUMPABLE)", SyscallNumber.prctl, PR_GET_DUMPABLE);
            later.Add(() =>
            {
                process.Memory.MmBrk = (ulong)batch.Result(brk).Raw;
                process.Memory.Dumpable = batch.Result(dumpable).Value;
            });
        }

        process.Space.Run(thread.Task);
        foreach (Action? read in later) read?.Invoke();
    }

    private void OpenSpace(DumpProcess process)
    {
        process.MemoryOwner = _objects.FirstWithSame(process, SharedObjects.Kind.Memory);
        if (process.MemoryOwner is not null)
        {
            process.Space = process.MemoryOwner.Space;
            return;
        }

        process.Space = RemoteEntry.Open(process);
    }

    private static TaskCoreEntry TaskCore(DumpProcess process, DumpThread leader)
    {
        var core = new TaskCoreEntry
        {
            TaskState = (uint)(leader.Task.GroupStopSignal != 0 ? Images.TaskState.Stopped : Images.TaskState.Alive),
            ExitCode = 0,
            Personality = 0,
            Flags = process.Stat.Flags,
            BlkSigset = 0,
            Comm = ByteString.CopyFrom(LinuxText.Encode(leader.Stat.Comm)),
        };
        if (leader.Task.GroupStopSignal != 0) core.StopSigno = (uint)leader.Task.GroupStopSignal;
        return core;
    }

    private static CoreEntry ZombieCore(DumpProcess process) => new()
    {
        Mtype = CoreEntry.Types.March.X8664,
        Tc = new TaskCoreEntry
        {
            TaskState = (uint)Images.TaskState.Dead,
            ExitCode = (uint)process.Stat.ExitCode,
            Personality = 0,
            Flags = process.Stat.Flags,
            BlkSigset = 0,
            Comm = ByteString.CopyFrom(LinuxText.Encode(process.Stat.Comm)),
        },
    };
}
