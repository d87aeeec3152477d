using CriuPmem.Engine.Memory;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Dump;

/// <summary>One frozen process, and what is known of it.</summary>
internal sealed class DumpProcess(int pid, ProcDirectory proc, ProcStat stat) : IDisposable
{
    private OwnedFd? _pidFd;

    /// <summary>The process id, as the engine sees it.</summary>
    public int Pid { get; } = pid;

    /// <summary>/proc of the task <see cref="TaskId"/>.</summary>
    public ProcDirectory Proc { get; private set; } = proc;

    /// <summary>
    /// The task by which the kernel finds its memory, files and the rest: the process's own number, or, where the main
    /// thread has ended and has none of that any more, the thread that lives.
    /// </summary>
    public int TaskId => Proc.Pid;

    /// <summary>The main thread, if it is traced and has ended: it is waited for when all others have ended.</summary>
    public Tracee? EndedLeader { get; set; }

    /// <summary>/proc/PID/stat, read when the process stood still.</summary>
    public ProcStat Stat { get; set; } = stat;

    /// <summary>The parent in the tree; null for the root.</summary>
    public DumpProcess? Parent { get; set; }

    /// <summary>Its threads, the leader first; empty for a zombie.</summary>
    public List<DumpThread> Threads { get; } = [];

    /// <summary>Ended, and not yet waited for by its parent.</summary>
    public bool IsZombie => Stat.State == 'Z' && Threads.Count == 0;

    /// <summary>The leading thread.</summary>
    public DumpThread Leader => Threads[0];

    /// <summary>The scratch mapping; shared by processes that share memory.</summary>
    public RemoteSpace? Space { get; set; }

    /// <summary>The process, before it in the dump, whose memory it shares (CLONE_VM); or null.</summary>
    public DumpProcess? MemoryOwner { get; set; }

    /// <summary>What tells which of its pages were written; null when nothing does.</summary>
    public WriteTracker? Tracker { get; set; }

    /// <summary>What is read of it ahead; null when nothing is.</summary>
    public Ahead<ProcessFacts>? Facts { get; set; }

    /// <summary>Its mappings, read ahead; null when they are not.</summary>
    public Ahead<List<MemoryMapping>>? MappingsAhead { get; set; }

    /// <summary>Its mappings, in address order.</summary>
    public List<MemoryMapping> Mappings { get; } = [];

    /// <summary>Which kernel objects it shares with whom.</summary>
    public TaskKobjIdsEntry Ids { get; } = new();

    /// <summary>What goes into mm-PID.img.</summary>
    public MmEntry Memory { get; } = new();

    /// <summary>The engine itself, by the thread that works: it has descriptors of its own.</summary>
    public bool IsEngine { get; init; }

    /// <summary>A small text file of its /proc, without the last newline; null when it cannot be read.</summary>
    public string? Text(string name) => Facts is not null && Facts.Value.TryGet(name, out string? known) ? known : Proc.ReadText(name);

    /// <summary>The target of a link of its /proc, or null.</summary>
    public string? Link(string name) => Facts is not null && Facts.Value.TryGet(name, out string? known) ? known : Proc.ReadLink(name);

    /// <summary>A copy of a descriptor in the engine's table (pidfd_getfd(2)).</summary>
    public SysResult CopyOf(int fd) => IsEngine ? Sys.Fcntl(fd, F_DUPFD_CLOEXEC) : Sys.PidfdGetFd(PidFd, fd);

    /// <summary>A pidfd of it (pidfd_open(2)).</summary>
    private int PidFd
    {
        get
        {
            if (_pidFd is { } known) return known.Fd;
            var made = new OwnedFd((int)Sys.PidfdOpen(TaskId, TaskId == Pid ? 0 : PIDFD_THREAD).OrThrow("pidfd_open", ToString()));
            OwnedFd? earlier = Interlocked.CompareExchange(ref _pidFd, made, null);
            if (earlier is null) return made.Fd;
            made.Dispose(); // another thread was a little faster
            return earlier.Fd;
        }
    }

    /// <summary>The main thread has ended: has <paramref name="thread"/> stand for it.</summary>
    public void ActThrough(DumpThread thread)
    {
        ProcDirectory proc = ProcDirectory.TryOpen(thread.Task.Tid) ?? throw Fail(ErrorCode.Vanished, $"thread {thread.Task.Tid} vanished while it was saved", "Try again");
        Proc.Dispose();
        Proc = proc;
        Threads.Clear();
        Threads.Add(thread);
    }

    /// <summary>"name (pid)", for messages.</summary>
    public override string ToString() => $"{Stat.Comm} ({Pid})";

    /// <summary>Reads from its memory (process_vm_readv(2)); false when not all of it can be read.</summary>
    public unsafe bool TryRead(ulong address, Span<byte> bytes)
    {
        fixed (byte* local = bytes)
        {
            ulong* vectors = stackalloc ulong[4] { (ulong)local, (ulong)bytes.Length, address, (ulong)bytes.Length };
            return Syscall.Invoke(SyscallNumber.process_vm_readv, TaskId, (long)vectors, 1, (long)(vectors + 2), 1).Raw == bytes.Length;
        }
    }

    /// <summary>An exception about this process.</summary>
    public CheckpointException Fail(ErrorCode code, string cause, string? remedy = null, string? what = null, Errno errno = Errno.None) =>
        new(code, cause) { Pid = Pid, ProcessName = Stat.Comm, Object = what, Remedy = remedy, Errno = errno };

    /// <inheritdoc />
    public void Dispose()
    {
        Proc.Dispose();
        if (MemoryOwner is null) Space?.Dispose();
        _pidFd?.Dispose();
    }
}
