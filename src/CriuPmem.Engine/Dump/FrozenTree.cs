using System.Diagnostics;
using CriuPmem.Engine.Resources;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Dump;

/// <summary>A process tree held still: every thread seized and stopped. Its end lets the tree go as it was.</summary>
/// <remarks>
/// Processes are frozen from the root down, so that a frozen parent can fork no more; the lists of threads and children
/// are read again until nothing new appears. Whatever ends this object without <see cref="Release"/>, the kernel too,
/// lets the tasks run on.
/// </remarks>
internal sealed class FrozenTree : IDisposable
{
    /// <summary>How long a thread that does not stop is waited for before it is asked why, again and again.</summary>
    private static readonly TimeSpan s_beforeLook = TimeSpan.FromMilliseconds(5);

    private readonly EngineLog _log;
    private readonly long _deadline;
    private readonly HashSet<int> _tids = [];
    private bool _released;
    private bool _someEnded; // while it was frozen

    private FrozenTree(EngineLog log, int timeoutSeconds)
    {
        _log = log;
        _deadline = timeoutSeconds == 0 ? long.MaxValue : Stopwatch.GetTimestamp() + timeoutSeconds * Stopwatch.Frequency;
    }

    /// <summary>The processes, parents before children.</summary>
    public List<DumpProcess> Processes { get; } = [];

    /// <summary>When freezing began, in clock ticks since the boot, as /proc tells when processes began.</summary>
    public ulong BegunTicks { get; } = NowTicks();

    /// <summary>One process of each address space: the first in the tree.</summary>
    public IEnumerable<DumpProcess> MemoryOwners => Processes.Where(process => !process.IsZombie && process.MemoryOwner is null);

    /// <summary>The root.</summary>
    public DumpProcess Root => Processes[0];

    /// <summary>Freezes the tree under <paramref name="rootPid"/>.</summary>
    /// <exception cref="CheckpointException">It cannot be frozen; it runs on.</exception>
    public static FrozenTree Freeze(int rootPid, int timeoutSeconds, EngineLog log)
    {
        var tree = new FrozenTree(log, timeoutSeconds);
        try
        {
            tree.Add(rootPid, null);
            do
            {
                // A list of children can lack one while another of them ends (proc(5)): then it is read once more.
                for (int clean = 0; clean < (tree._someEnded ? 2 : 1);) clean = tree.AddChildren() ? 0 : clean + 1;
            }
            while (tree.ForgetKilled());
            return tree;
        }
        catch
        {
            tree.Dispose();
            throw;
        }
    }

    private static ulong NowTicks()
    {
        const ulong perSecond = 100; // USER_HZ, on x86-64 for good
        (ulong seconds, ulong nanoseconds) = Sys.Clock(Sys.CLOCK_BOOTTIME);
        return (seconds * perSecond) + (nanoseconds / (1_000_000_000 / perSecond));
    }

    /// <summary>Lets the tree go: running, stopped or killed.</summary>
    public void Release(FinalState state)
    {
        if (_released) return;
        _released = true;
        if (state == FinalState.Killed)
        {
            foreach (DumpProcess process in Processes) Sys.Kill(process.Pid, SIGKILL);
            Reap();
            return;
        }

        foreach (DumpThread thread in Processes.SelectMany(process => process.Threads)) thread.Task.PutBack();
        foreach (DumpProcess process in Processes.Where(process => process.Space is not null && process.MemoryOwner is null)) RemoveScratch(process);
        foreach (DumpProcess process in Processes)
        {
            if ((state == FinalState.Stopped && !process.IsZombie) || WasToldToStop(process)) Sys.Kill(process.Pid, SIGSTOP);
            foreach (DumpThread thread in process.Threads) thread.Task.Detach();
        }

        foreach (DumpProcess process in Processes.Where(process => process.Threads.Exists(thread => thread.Task.GroupStopSignal != 0))) WaitStoppedAgain(process);
    }

    /// <summary>True when a SIGSTOP came while the process stood still, and no SIGCONT since, which would have taken it back.</summary>
    private static bool WasToldToStop(DumpProcess process) =>
        process.Threads.Exists(static thread => thread.Task.WasToldToStop) &&
        process.Proc.Status() is { } status && ((status.PendingProcess | status.PendingThread) >> (SIGCONT - 1) & 1) == 0;

    /// <summary>A stopped process is woken by the detach and stops again by itself: nobody shall see it in between.</summary>
    private static void WaitStoppedAgain(DumpProcess process)
    {
        const int patienceMs = 1000;
        for (int waited = 0; waited < patienceMs && process.Proc.Stat() is { State: 'R' or 't' }; waited++) Sys.SleepMicroseconds(1000);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        Release(FinalState.Running);
        foreach (DumpProcess process in Processes) process.Dispose();
    }

    private static void RemoveScratch(DumpProcess process)
    {
        try
        {
            process.Space!.Remove(process.Leader.Task);
            process.Space.Tail?.Clear();
        }
        catch (CheckpointException)
        {
            // The task died under our hands: nothing is left to put in order.
        }
    }

    private void Reap()
    {
        // A killed tracee is the tracer's to reap before its parent can; threads end before their leader does.
        foreach (DumpProcess process in Processes.AsEnumerable().Reverse())
        {
            for (int i = process.Threads.Count - 1; i >= 0; i--)
            {
                WaitEnded(process.Threads[i].Task);
            }

            if (process.EndedLeader is not null) WaitEnded(process.EndedLeader);
        }
    }

    private static void WaitEnded(Tracee task)
    {
        while (!task.Wait().Ended)
        {
        }
    }

    private void Add(int pid, DumpProcess? parent)
    {
        if (pid == Sys.GetPid())
        {
            throw new CheckpointException(ErrorCode.CannotFreeze, "the tree contains this criu-pmem itself, which cannot freeze itself")
            {
                Pid = pid,
                ProcessName = parent is null ? null : "criu-pmem",
                Remedy = "Start criu-pmem from outside of the tree, or give the pid of the part without it",
            };
        }

        ProcDirectory? proc = ProcDirectory.TryOpen(pid);
        ProcStat? stat = proc?.Stat();
        if (proc is null || stat is null)
        {
            _someEnded = true;
            if (parent is not null) return; // a child that ended meanwhile
            throw new CheckpointException(ErrorCode.NoSuchProcess, "there is no such process") { Pid = pid, Remedy = "Check the number given with --tree" };
        }

        var process = new DumpProcess(pid, proc, stat) { Parent = parent };
        if (stat.IsKernelThread) throw process.Fail(ErrorCode.KernelThread, "it is a kernel thread, which has no memory or files of its own to save", "Give the pid of a program");
        Processes.Add(process);
        if (stat.State is 'Z' or 'X' && proc.Numbers("task").Count <= 1)
        {
            if (parent is null) throw process.Fail(ErrorCode.NoSuchProcess, "the process has ended already and only waits for its parent (zombie)", "Give the pid of a running program");
            SettleEnded(process);
            return;
        }

        FreezeThreads(process);
        if (process.Threads.Count == 0)
        {
            SettleEnded(process);
            return;
        }

        SettleLeader(process);
        process.Stat = process.Proc.Stat() ?? stat;
    }

    /// <summary>All threads of a process have ended: it becomes a zombie, or was reaped and is forgotten.</summary>
    private void SettleEnded(DumpProcess process)
    {
        _someEnded = true;
        for (; ; Sys.SleepMicroseconds(100))
        {
            Interruption.Check();
            ProcStat? stat = process.Proc.Stat();
            if (stat is { State: 'Z' } && process.Proc.Numbers("task").Count <= 1)
            {
                process.Stat = stat;
                break;
            }

            if (stat is null or { State: 'X' })
            {
                Processes.Remove(process);
                process.Dispose();
                break;
            }

            if (Stopwatch.GetTimestamp() > _deadline) throw process.Fail(ErrorCode.CannotFreeze, "it does not end, and yet all its threads have", "Try again a moment later, or raise --timeout");
        }

        if (process.Parent is not null) return;
        throw process.Fail(ErrorCode.Vanished, "it ended while it was frozen", "Give the pid of a program that runs on");
    }

    /// <summary>
    /// Finds the processes that were killed after they had been frozen (by another of the tree, a moment before that one
    /// stood still): they leave their stop and end.
    /// </summary>
    /// <returns>True when there were any: their children have other parents now.</returns>
    private bool ForgetKilled()
    {
        bool any = false;
        foreach (DumpProcess process in Processes.ToArray())
        {
            if (process.Threads.TrueForAll(static thread => thread.Task.IsStopped())) continue;
            any = true;
            // A kill ends all of them; the leader's end is told when the others' ends have been taken note of.
            for (int i = process.Threads.Count - 1; i >= 0; i--) WaitEnded(process.Threads[i].Task);
            process.Threads.Clear();
            SettleEnded(process);
        }

        if (any) FollowParents();
        return any;
    }

    /// <summary>
    /// Where a parent ended, its children belong to another (a subreaper, or init): within the tree they stay, outside of
    /// it they have left the tree as any daemon does, and go on.
    /// </summary>
    private void FollowParents()
    {
        foreach (DumpProcess process in Processes.ToArray())
        {
            if (process.Parent is null || !Processes.Contains(process)) continue;
            int parent = process.Proc.Stat()?.ParentPid ?? 0;
            if (parent == process.Parent.Pid) continue;
            process.Parent = Processes.Find(known => known.Pid == parent);
            if (process.Parent is null) LetGo(process);
        }

        // Parents come before children; who got another one may stand too early.
        var ordered = new List<DumpProcess>(Processes.Count);
        while (ordered.Count < Processes.Count)
        {
            ordered.AddRange(Processes.FindAll(process => !ordered.Contains(process) && (process.Parent is null || ordered.Contains(process.Parent))));
        }

        Processes.Clear();
        Processes.AddRange(ordered);
    }

    private void LetGo(DumpProcess process)
    {
        foreach (DumpProcess child in Processes.FindAll(known => known.Parent == process)) LetGo(child);
        foreach (DumpThread thread in process.Threads) thread.Task.Detach();
        Processes.Remove(process);
        _log.Warn("freeze", $"{process} has left the tree, since its parent ended; it is not saved, and goes on");
        process.Dispose();
    }

    /// <summary>Where the main thread has ended, the last one left stands for it, as it will from its next exec on.</summary>
    private static void SettleLeader(DumpProcess process)
    {
        if (process.Threads.Count == 0 || process.Threads[0].Task.Tid == process.TaskId) return;
        if (process.Threads.Count > 1) throw process.Fail(ErrorCode.UnsupportedState, "its main thread has ended while several others go on", "Let the main thread wait for the others (pthread_join) instead of ending");
        process.ActThrough(process.Threads[0]);
    }

    private bool AddChildren()
    {
        bool any = false;
        for (int i = 0; i < Processes.Count; i++)
        {
            DumpProcess parent = Processes[i];
            foreach (DumpThread thread in parent.Threads)
            {
                foreach (int child in parent.Proc.Children(thread.Task.Tid))
                {
                    if (Processes.Exists(known => known.Pid == child)) continue;
                    Add(child, parent);
                    any = true;
                }
            }
        }

        return any;
    }

    private void FreezeThreads(DumpProcess process)
    {
        for (bool any = true; any;)
        {
            any = false;
            var seized = new List<DumpThread>();
            foreach (int tid in process.Proc.Numbers("task"))
            {
                if (_tids.Contains(tid)) continue;
                Errno error = Tracee.Seize(tid, 0);
                if (error == Errno.ESRCH || (error == Errno.EPERM && IsEnding(process, tid))) continue; // between the listing and here, or a main thread
                if (error != Errno.None) throw CannotSeize(process, tid, error);
                _tids.Add(tid);
                var thread = new DumpThread(process, new Tracee(tid));
                seized.Add(thread);
                process.Threads.Add(thread);
                any = true;
            }

            foreach (DumpThread thread in seized)
            {
                if (!WaitUntilStopped(thread)) process.Threads.Remove(thread);
            }
        }

        process.Threads.Sort((a, b) => a.IsLeader ? -1 : b.IsLeader ? 1 : a.Task.Tid.CompareTo(b.Task.Tid));
        _log.Debug("freeze", $"{process}: {process.Threads.Count} threads stopped");
    }

    private static bool HasEnded(DumpProcess process, int tid) =>
        !ProcStat.TryParse(process.Proc.Read($"task/{tid}/stat"), out ProcStat? stat) || stat!.State is 'Z' or 'X';

    /// <summary>True when a task has ended, or is about to: then that is waited for. The kernel lets nobody trace such a task.</summary>
    private bool IsEnding(DumpProcess process, int tid)
    {
        while (ProcStat.TryParse(process.Proc.Read($"task/{tid}/stat"), out ProcStat? stat) && stat!.State is not ('Z' or 'X'))
        {
            if (!stat.IsExiting || Stopwatch.GetTimestamp() > _deadline) return false;
            Interruption.Check();
            Sys.SleepMicroseconds(100);
        }

        return true;
    }

    private static CheckpointException CannotSeize(DumpProcess process, int tid, Errno error)
    {
        int tracer = process.Proc.Status()?.TracerPid ?? 0;
        return tracer != 0
            ? process.Fail(ErrorCode.AlreadyTraced, $"it is traced by process {tracer} already", "Detach that debugger or tracer first")
            : process.Fail(ErrorCode.NotPermitted, $"thread {tid} cannot be traced", Sys.GetEffectiveUid() == 0
                ? "Root alone is not enough here: look at kernel.yama.ptrace_scope (3 forbids all tracing), at CAP_SYS_PTRACE (in a container), at security modules (SELinux, AppArmor) and at a seccomp filter around criu-pmem"
                : "Run as root, and check kernel.yama.ptrace_scope", errno: error);
    }

    /// <summary>False when the task ended instead.</summary>
    private bool WaitUntilStopped(DumpThread thread)
    {
        Tracee task = thread.Task;
        long looked = Stopwatch.GetTimestamp();
        for (int spins = 0; ; spins++)
        {
            if (!task.TryWait(out TaskStop stop))
            {
                if (spins < 50) Syscall.Invoke(SyscallNumber.sched_yield);
                else Sys.SleepMicroseconds(Math.Min(spins, 1000));
                Interruption.Check();
                if (Stopwatch.GetTimestamp() > _deadline) throw NotStopping(thread);
                if (Stopwatch.GetElapsedTime(looked) < s_beforeLook) continue;
                looked = Stopwatch.GetTimestamp();
                if (task.Tid == thread.Process.Pid && HasEnded(thread.Process, task.Tid))
                {
                    thread.Process.EndedLeader = task; // nothing is told of it before the last thread's end
                    return false;
                }

                if (EndVfork(thread)) return true;
                continue;
            }

            if (stop.Ended) return false;
            if (stop.Event == PTRACE_EVENT_STOP)
            {
                if (stop.IsGroupStop) task.GroupStopSignal = stop.Signal;
                if (!task.LoadIfAlive()) return false;
                InterruptedCall.AvoidForbiddenRestart(thread);
                return true;
            }

            // A signal came first: the program gets it, and the interrupt follows.
            Sys.Ptrace(PTRACE_CONT, task.Tid, 0, stop.Signal);
        }
    }

    /// <summary>Has a thread that stands in vfork wait for its child in another way, in which it can be stopped.</summary>
    /// <returns>True when it has stopped so.</returns>
    private bool EndVfork(DumpThread parent)
    {
        if (!VforkHandover.IsInVfork(parent)) return false;
        int child = VforkHandover.ChildOf(parent);
        if (child == 0 || VforkHandover.IsYoung(child)) return false;
        if (!Processes.Exists(known => known.Pid == child)) Add(child, parent.Process);
        DumpProcess? process = Processes.Find(known => known.Pid == child);
        // It may have called exec or ended meanwhile; then the parent is on its way.
        if (process is null || process.IsZombie || !VforkHandover.ShareMemory(parent.Task.Tid, process.TaskId)) return false;
        TimeSpan between = VforkHandover.Run(parent, process);
        _tids.Add(process.TaskId);
        _log.Debug("freeze", $"{parent.Process}: thread {parent.Task.Tid} left vfork, and waits for {process} by a futex; {between.TotalMicroseconds:0} us between");
        return true;
    }

    private static CheckpointException NotStopping(DumpThread thread)
    {
        string where = thread.Process.Proc.ReadText($"task/{thread.Task.Tid}/wchan") ?? "?";
        return VforkHandover.IsInVfork(thread)
            ? thread.Process.Fail(
                ErrorCode.CannotFreeze, $"thread {thread.Task.Tid} waits inside vfork until its child calls exec or ends, and does not share memory with it alone",
                "Try again a moment later, or raise --timeout")
            : thread.Process.Fail(
                ErrorCode.CannotFreeze, $"thread {thread.Task.Tid} does not stop: it waits in the kernel ({where})",
                "Try again when its input/output has ended, or raise --timeout");
    }
}
