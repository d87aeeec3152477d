using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Lazy;

/// <summary>The engine's side of a lazy restore: leaves memory to a pager, which it starts before any task runs.</summary>
/// <remarks>
/// The process makes the userfaultfd (it belongs to its address space), while it still has root's rights: the kernel
/// itself may touch missing pages on its behalf (read(2) into a buffer), which an unprivileged one may not serve. All
/// children are born by then, so that no fork waits for the pager.
/// </remarks>
internal sealed class LazyRestore(RestoreContext context) : IDisposable
{
    private const ulong Features = Sys.UFFD_FEATURE_EVENT_FORK | Sys.UFFD_FEATURE_EVENT_REMAP | Sys.UFFD_FEATURE_EVENT_REMOVE | Sys.UFFD_FEATURE_EVENT_UNMAP;

    private readonly List<LazyMemory> _memories = [];
    private LazyPagesClient? _daemon;
    private LazyPagesPatience? _patience;
    private PagerStart? _pager;

    /// <summary>Trees with less saved memory than this are read at once unless the user says otherwise, in bytes.</summary>
    /// <remarks>Reading 256 MiB takes 40 ms; a pager and its guardian are started in six, and bring memory back half as fast (docs/performance.md).</remarks>
    public const long WorthwhileBytes = 256 << 20;

    /// <summary>Whether memory shall come back while the tree runs: as the user says, else where it lies on persistent memory and is much.</summary>
    public bool IsWanted { get; } = context.Options.Lazy ??
        (context.Options is { UsePmem: true, LazyPages: false } && context.Contents.PagesFileBytes.Values.Sum() >= WorthwhileBytes && CanWatch());

    /// <summary>Bytes that are left to the pager.</summary>
    public long Bytes => _memories.Sum(static memory => memory.LaterBytes);

    /// <summary>Leaves some of a process's memory, whose mappings exist, to the pager.</summary>
    public void Add(LazyMemory memory) => _memories.Add(memory);

    /// <summary>Starts the pager, when there is anything for it to do; from here on missing memory is waited for.</summary>
    /// <param name="live">Every process of the tree: they end together if the pager dies.</param>
    /// <exception cref="CheckpointException">The kernel refuses, or the pager did not start.</exception>
    public void Start(IEnumerable<RestoreProcess> live)
    {
        if (context.Options.LazyPages)
        {
            HandOver(live);
            return;
        }

        if (_memories.Count == 0) return;
        var plan = new PagerPlan { LogFd = context.Log.Fd > 2 ? context.Log.Fd : -1, LogLevel = context.Log.Level, DirectoryFd = context.Options.ImagesDirectoryFd };
        plan.Pids.AddRange(live.Select(static process => process.Pid));
        var owned = new List<int>();
        try
        {
            var files = new Dictionary<PagesSource, int>();
            foreach (LazyMemory memory in _memories)
            {
                int fd = Watch(memory);
                owned.Add(fd);
                plan.Spaces.Add(new PagerPlan.Space(fd, memory.Process.Pid, Runs(memory, plan, files, owned), memory.Huge));
            }

            _pager = PagerStart.Start(context, plan);
            context.Log.Info("lazy", $"{Bytes >> 20} MiB of {_memories.Count} processes left to the pager");
        }
        finally
        {
            foreach (int fd in owned) Sys.Close(fd);
        }
    }

    /// <summary>Connects to the daemon, before anything is made.</summary>
    public void Connect()
    {
        if (context.Options.LazyPages) _daemon = LazyPagesClient.Connect(context.Options.WorkDirectoryFd, context.Options.TimeoutSeconds);
    }

    /// <summary>Waits until the pager serves, which it has begun while the tree was completed.</summary>
    /// <exception cref="CheckpointException">It did not come so far.</exception>
    public void Await()
    {
        _pager?.Await();
        _patience?.Dispose();
        if (_patience is { IsLost: true }) throw Lost();
        _patience = null;
    }

    /// <summary>The tree is about to run: what nobody waits for may be filled, too.</summary>
    public void Finish()
    {
        _daemon?.Finish();
        _pager?.Release();
    }

    /// <summary>Why a process of the tree ended: a lazy-pages daemon that ends, or does not answer, takes the tree with it.</summary>
    /// <param name="failure">What was seen of it.</param>
    public CheckpointException Cause(CheckpointException failure) => _patience is { IsLost: true } ? Lost() : _daemon?.WhenEnded() ?? failure;

    /// <inheritdoc />
    public void Dispose()
    {
        _patience?.Dispose();
        _daemon?.Dispose();
        _pager?.Dispose();
    }

    private CheckpointException Lost() => Interruption.IsWanted ? Interruption.Failure() : _daemon!.Silent();

    /// <summary>Hands every process to the daemon; it serves from then on.</summary>
    private void HandOver(IEnumerable<RestoreProcess> live)
    {
        _patience = new LazyPagesPatience(live.Select(static process => process.Pid), context.Options.TimeoutSeconds);
        foreach (RestoreProcess process in context.Processes.Where(static process => process.IsZombie)) _daemon!.SendZombie(process.Pid);
        foreach (LazyMemory memory in _memories)
        {
            using var fd = new OwnedFd(Watch(memory));
            _daemon!.Send(memory.Process.Pid, fd.Fd);
        }

        context.Log.Info("lazy", $"{Bytes >> 20} MiB of {_memories.Count} processes left to the lazy-pages daemon");
        _daemon!.AwaitReceived();
    }

    /// <summary>Where the kernel or the user's rights do not allow it, memory is read at once unless the user asks for it.</summary>
    private static bool CanWatch()
    {
        SysResult made = Syscall.Invoke(SyscallNumber.userfaultfd, O_CLOEXEC | O_NONBLOCK);
        if (made.Failed) return false;
        using var fd = new OwnedFd(made.Value);
        return !Sys.UserfaultfdApi(fd.Fd, Features).Failed;
    }

    private PagerRun[] Runs(LazyMemory memory, PagerPlan plan, Dictionary<PagesSource, int> files, List<int> owned)
    {
        SavedPages pages = context.PagesOf(memory.Process)!;
        var indices = new int[pages.Files.Count];
        for (int i = 0; i < indices.Length; i++)
        {
            if (!files.TryGetValue(pages.Files[i], out indices[i]))
            {
                files.Add(pages.Files[i], indices[i] = plan.Files.Count);
                int fd = pages.Files[i].Open(out long lengthBytes);
                owned.Add(fd);
                plan.Files.Add((fd, (ulong)lengthBytes, pages.Files[i].Compressed));
            }
        }

        return [.. memory.Later.Select(run => new PagerRun(run.Start, run.End, (ulong)indices[run.File], run.Offset))];
    }

    /// <summary>Has the process make a userfaultfd, takes it over, and registers the mappings.</summary>
    private int Watch(LazyMemory memory)
    {
        RestoreProcess process = memory.Process;
        var calls = new RemoteCalls(process.Space, process.Leader.Task);
        calls.Room(0, 1);
        int making = calls.Try(SyscallNumber.userfaultfd, O_CLOEXEC | O_NONBLOCK);
        SysResult made = calls.RunAndKeep().Result(making);
        calls.Batch.Clear();
        if (made.Failed) throw Refused(process, "it cannot make a userfaultfd", made);
        using var pidfd = new OwnedFd((int)Sys.PidfdOpen(process.Pid).OrThrow("pidfd_open", process.ToString()));
        SysResult fd = Sys.PidfdGetFd(pidfd.Fd, made.Value);
        calls.Must("close", SyscallNumber.close, made.Value);
        calls.Flush();
        if (fd.Failed) throw Refused(process, "its userfaultfd cannot be taken over (pidfd_getfd)", fd);
        try
        {
            SysResult agreed = Sys.UserfaultfdApi(fd.Value, Features);
            if (agreed.Failed) throw Refused(process, "this kernel's userfaultfd does not tell of fork, mremap and munmap", agreed);
            foreach ((ulong start, ulong lengthBytes) in memory.Mappings)
            {
                SysResult registered = Sys.UserfaultfdRegister(fd.Value, start, lengthBytes, Sys.UFFDIO_REGISTER_MODE_MISSING);
                if (registered.Failed) throw Refused(process, $"mapping {start:x}-{start + lengthBytes:x} cannot be registered with userfaultfd", registered);
            }
        }
        catch (CheckpointException)
        {
            Sys.Close(fd.Value);
            throw;
        }

        return fd.Value;
    }

    private CheckpointException Refused(RestoreProcess process, string cause, SysResult result) =>
        process.Fail(ErrorCode.KernelFeature, $"{cause}: its memory cannot come back while it runs", $"Restore without {(context.Options.LazyPages ? "--lazy-pages" : "--lazy")}", errno: result.Errno);
}
