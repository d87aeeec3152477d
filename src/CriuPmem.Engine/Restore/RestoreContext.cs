using CriuPmem.Engine.Lazy;
using CriuPmem.Engine.Memory;
using CriuPmem.Engine.Resources;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Restore;

/// <summary>What the parts of one restore share.</summary>
internal sealed class RestoreContext : IDisposable
{
    private const int MostSockets = 5; // as many as there are batches running, and one more that is being filled

    private readonly Dictionary<int, SavedPages> _pages = [];

    /// <summary>Creates the context of one restore from checked images.</summary>
    public RestoreContext(RestoreOptions options, SnapshotReader reader, SnapshotContents contents)
    {
        Options = options;
        Reader = reader;
        Contents = contents;
        using ProcDirectory self = ProcDirectory.TryOpen(Sys.GetPid())!;
        OwnStatus = self.Status()!;
        ProcStat stat = self.Stat()!;
        OwnSession = stat.SessionId;
        OwnGroup = stat.GroupId;
        Inherited = new InheritedState();
        LastCapability = Sys.ReadNumber("/proc/sys/kernel/cap_last_cap", 40);
        Chain = new SnapshotChain(reader);
        Files = new FileOpener(this);
        Remapped = new RemappedFiles(this);
        Transport = new Transport(Math.Min(contents.Pstree.Count, MostSockets));
        MemoryFiles = new MemoryFiles(this);
        PipeContents = new PipeContents(this);
        Registrations = new EpollRegistrations(this);
        Lazy = new LazyRestore(this);
    }

    /// <summary>What the user asked for.</summary>
    public RestoreOptions Options { get; }

    /// <summary>The images.</summary>
    public SnapshotReader Reader { get; }

    /// <summary>The images and those that they continue.</summary>
    public SnapshotChain Chain { get; }

    /// <summary>The saved pages of a process, on any thread; null when it shares another's memory, or has none.</summary>
    public SavedPages? PagesOf(RestoreProcess process)
    {
        lock (_pages) return FindPages(process);
    }

    private SavedPages? FindPages(RestoreProcess process)
    {
        if (_pages.TryGetValue(process.Pid, out SavedPages? pages)) return pages;
        if (!Contents.Pagemaps.TryGetValue((uint)process.Pid, out Pagemap? map)) return null;
        pages = Chain.Resolve(ImageKind.Pagemap, process.Pid, map);
        _pages.Add(process.Pid, pages);
        return pages;
    }

    /// <summary>The saved pages of a shared object (shmid); null when it has none.</summary>
    public SavedPages? PagesOfShared(ulong id)
    {
        lock (_pages) return Contents.SharedPagemaps.TryGetValue(id, out Pagemap? map) ? Chain.Resolve(ImageKind.PagemapShmem, (long)id, map) : null;
    }

    /// <summary>Their messages.</summary>
    public SnapshotContents Contents { get; }

    /// <summary>The engine's own status, which new tasks inherit.</summary>
    public ProcStatus OwnStatus { get; }

    /// <summary>The engine's own session and process group.</summary>
    public int OwnSession { get; }

    /// <inheritdoc cref="OwnSession" />
    public int OwnGroup { get; }

    /// <summary>What new tasks have from the engine.</summary>
    public InheritedState Inherited { get; }

    /// <summary>The highest capability that this kernel knows.</summary>
    public int LastCapability { get; }

    /// <summary>The open files.</summary>
    public FileOpener Files { get; }

    /// <summary>The memory files (memfd_create(2)).</summary>
    public MemoryFiles MemoryFiles { get; }
    /// <summary>Deleted files, and how they are opened.</summary>
    public RemappedFiles Remapped { get; }

    /// <summary>The pipes and FIFOs, and what is in them.</summary>
    public PipeContents PipeContents { get; }

    /// <summary>What the epoll sets watch.</summary>
    public EpollRegistrations Registrations { get; }

    /// <summary>The memory that comes back while the tree runs.</summary>
    public LazyRestore Lazy { get; }

    /// <summary>The way of descriptors into the tasks.</summary>
    public Transport Transport { get; }

    /// <summary>The tree; parents before children.</summary>
    public List<RestoreProcess> Processes { get; } = [];

    /// <summary>The root.</summary>
    public RestoreProcess Root => Processes[0];

    /// <summary>Where the restore tells what it does.</summary>
    public EngineLog Log => Options.Log;

    /// <summary>The session for a saved one: with --shell-job, the engine's own for one that lies outside the tree.</summary>
    public int MapSession(int saved) => IsOutside && saved == Root.Entry.Sid ? OwnSession : saved;

    /// <summary>The process group for a saved one, likewise.</summary>
    public int MapGroup(int saved) => IsOutside && saved == Root.Entry.Pgid && !Contents.Cores.ContainsKey((uint)saved) ? OwnGroup : saved;

    /// <summary>Sets who is told of an open file's events (F_SETOWN, F_SETSIG, O_ASYNC).</summary>
    public unsafe void RestoreOwner(int fd, FownEntry? owner, uint flags)
    {
        if (owner is null || (owner.Pid == 0 && owner.Signum == 0)) return;
        if (owner.Signum != 0) Sys.Fcntl(fd, F_SETSIG, owner.Signum).OrThrow("fcntl(F_SETSIG)", "an open file");
        if (owner.Pid == 0) return;
        Owners.Add((Sys.Fcntl(fd, F_DUPFD_CLOEXEC).OrThrow("fcntl(F_DUPFD)", "an open file"), owner, flags));
    }

    /// <summary>Owners to be set when their processes exist: descriptor, owner, the file's flags.</summary>
    public List<(long Fd, FownEntry Owner, uint Flags)> Owners { get; } = [];

    /// <summary>What is put in order when nothing can fail any more.</summary>
    public List<Action> AtCommit { get; } = [];

    /// <summary>What is taken back, in this order, when the restore fails.</summary>
    public List<Action> AtFailure { get; } = [];

    /// <summary>The tree is whole: what served its making goes.</summary>
    public void Commit()
    {
        AtFailure.Clear();
        Remapped.Commit();
        foreach (Action action in AtCommit) action();
    }

    /// <summary>The batches that run in several processes at the same time.</summary>
    public RunningBatches Running { get; } = new();

    /// <summary>
    /// Begins to run a process's calls while others are prepared; those of a process that shares files, memory or the like
    /// with another run alone.
    /// </summary>
    /// <param name="process">The process.</param>
    /// <param name="calls">Calls of its leader.</param>
    /// <param name="explain">What to add to a failure; null for nothing.</param>
    public void Launch(RestoreProcess process, RemoteCalls calls, Action<CheckpointException>? explain = null)
    {
        calls.Launch(Running, explain);
        if (process.IsEntangled) Running.CollectAll();
    }

    /// <summary>Work for the time when every process has its memory and its descriptors: what they are told then is new.</summary>
    public List<Action> WhenTasksAreEquipped { get; } = [];

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (Action action in AtFailure) action();
        Lazy.Dispose();
        Files.Dispose();
        MemoryFiles.Dispose();
        Remapped.Dispose();
        Transport.Dispose();
        Chain.Dispose();
        foreach (RestoreProcess process in Processes) process.Dispose();
        foreach ((long fd, _, _) in Owners) Sys.Close((int)fd);
    }

    /// <summary>The root's session lies outside the tree: a shell's job.</summary>
    private bool IsOutside => Options.ShellJob && Root.Entry.Sid != Root.Entry.Pid;
}
