using System.Diagnostics;
using System.Globalization;
using CriuPmem.Engine.Resources;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Dump;

/// <summary>Ends a wait in vfork(2) before the child calls exec or ends, without the program's knowing.</summary>
/// <remarks>
/// A thread in vfork waits in the kernel, where only SIGKILL reaches it, for its child to leave the memory that they share.
/// The kernel takes "leaves" by the child's task: so the child moves into a second thread of its own process, and its first
/// thread ends alone. That lets the parent out; before it comes to the program it is stopped, and is sent into a futex wait
/// for a word that the kernel clears when the second thread calls exec or ends (<see cref="VforkPages"/>): at the very
/// moment at which vfork would have returned. Both are ordinary tasks then, which can be saved and restored.
/// <para>
/// An engine that dies before the first thread's end leaves everything as it was, but for the scratch and two pages: the
/// new thread ends by itself, since it stands before code that lets only one of the two go on. After the parent's
/// redirection all is well too. Between the two (three ptrace calls; about 0.1 ms, told in the log) its death lets the
/// parent out of vfork too early, beside a child that still uses its stack: only a tracer can keep a thread from what it
/// returns to, and the kernel lets nobody see or set the registers of one that stands in vfork.
/// </para>
/// <para>
/// What stays changed: until its exec the child's gettid(2) differs from getpid(2), and its /proc/self is the ended thread,
/// which shows no files and no memory; a wait of the child with a time limit begins anew; the two pages stay.
/// </para>
/// </remarks>
internal static unsafe class VforkHandover
{
    private const int MaxXsaveBytes = 16384;

    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(100);

    /// <summary>True when a thread that does not stop waits in vfork(2), or in a clone(2) that does the same.</summary>
    public static bool IsInVfork(DumpThread thread)
    {
        int tid = thread.Task.Tid;
        if (!ProcStat.TryParse(thread.Process.Proc.Read($"task/{tid}/stat"), out ProcStat? stat) || stat!.State != 'D') return false;
        string[] call = (thread.Process.Proc.ReadText($"task/{tid}/syscall") ?? "").Split(' ');
        if (call.Length < 2 || !int.TryParse(call[0], CultureInfo.InvariantCulture, out int number)) return false;
        _ = ulong.TryParse(call[1].AsSpan(Math.Min(2, call[1].Length)), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong flags);
        // struct clone_args begins with the flags.
        if (number == SyscallNumber.clone3 && Sys.ProcessVmRead(tid, flags, &flags, sizeof(ulong)).Failed) return false;
        return number == SyscallNumber.vfork || (number is SyscallNumber.clone or SyscallNumber.clone3 && (flags & CLONE_VFORK) != 0);
    }

    /// <summary>The child for which a thread stands in vfork: its only one that has the same memory; 0 when there is not just one.</summary>
    public static int ChildOf(DumpThread parent)
    {
        int found = 0;
        foreach (int child in parent.Process.Proc.Children(parent.Task.Tid))
        {
            if (!ShareMemory(parent.Task.Tid, child)) continue;
            if (found != 0) return 0;
            found = child;
        }

        return found;
    }

    /// <summary>True for a child that may well call exec of its own in a moment: most do within a few milliseconds.</summary>
    public static bool IsYoung(int child)
    {
        const long ticksPerSecond = 100;
        using ProcDirectory? proc = ProcDirectory.TryOpen(child);
        if (proc?.Stat() is not { } stat) return true;
        (ulong seconds, ulong nanoseconds) = Sys.Clock(Sys.CLOCK_BOOTTIME);
        return TimeSpan.FromSeconds(seconds - (double)stat.StartTimeTicks / ticksPerSecond + nanoseconds / 1e9) < s_patience;
    }

    /// <summary>True when two tasks have the same memory.</summary>
    public static bool ShareMemory(int a, int b) => Sys.Kcmp(a, b, KCMP_VM) is { Failed: false, Raw: 0 };

    /// <summary>Does it.</summary>
    /// <param name="parent">The thread in vfork: interrupted, and not stopped.</param>
    /// <param name="child">Its child, frozen.</param>
    /// <returns>How long the parent was out of vfork, and not where it waits now, at most: the time that nothing heals.</returns>
    /// <exception cref="CheckpointException">It cannot be done; all is as it was.</exception>
    public static TimeSpan Run(DumpThread parent, DumpProcess child)
    {
        CheckThreads(parent, child);
        DumpThread first = child.Leader;
        first.MakeReady();
        CheckFirst(parent, first);
        InterruptedCall.Rearm(first);
        RemoteSpace space = RemoteEntry.Open(child);
        Tracee? second = null;
        VforkPages? pages = null;
        try
        {
            (pages, SecondThread settings) = Prepare(parent, first, space);
            second = Bear(first, pages, space.EndSignal);
            Equip(first, second, pages, space, settings);
        }
        catch
        {
            Undo(child, second, pages, space);
            throw;
        }

        TimeSpan unsafeTime = MoveInto(parent, first, second, pages);
        RemoteEntry.Close(child, space);
        space.Dispose();
        return unsafeTime;
    }

    /// <summary>Refuses what a second thread could not carry on.</summary>
    private static void CheckThreads(DumpThread parent, DumpProcess child)
    {
        if (child.Threads.Count != 1) throw Refuse(parent, child, "has several threads");
        if (!child.Leader.IsLeader || child.TaskId != child.Pid) throw Refuse(parent, child, "has lost its main thread");
        if (child.Leader.Task.GroupStopSignal != 0) throw Refuse(parent, child, "is stopped by a signal");
        if (child.Proc.Children(child.Pid).Count != 0) throw Refuse(parent, child, "has children of its own");
    }

    private static void CheckFirst(DumpThread parent, DumpThread first)
    {
        DumpProcess child = first.Process;
        ulong robust, lengthBytes;
        Syscall.Invoke(SyscallNumber.get_robust_list, first.Task.Tid, (long)&robust, (long)&lengthBytes).OrThrow("get_robust_list", child.ToString());
        if (robust != 0) throw Refuse(parent, child, "has a list of robust futexes");
        if (first.Status.PendingThread != 0) throw Refuse(parent, child, "has signals pending for its thread alone");
        if (RestartableSequence.IsRegistered(first.Task.Tid)) throw Refuse(parent, child, "has registered restartable sequences");
        if (PosixTimers.Parse(child.Proc.ReadText("timers") ?? "").Exists(timer => timer.HasNotifyThreadId)) throw Refuse(parent, child, "has timers that notify its thread");
        // The parent's filters cannot be read while it does not stop. The child has them too, unless they came later.
        if (StatusOf(parent).SeccompFilters > first.Status.SeccompFilters) throw Refuse(parent, child, "has fewer seccomp filters than its parent");
    }

    private static ProcStatus StatusOf(DumpThread parent) =>
        ProcStatus.TryParse(parent.Process.Proc.Read($"task/{parent.Task.Tid}/status"), out ProcStatus? status)
            ? status! : throw parent.Process.Fail(ErrorCode.Vanished, $"thread {parent.Task.Tid} vanished while it was saved", "Try again");

    private static CheckpointException Refuse(DumpThread parent, DumpProcess child, string why) => parent.Process.Fail(
        ErrorCode.CannotFreeze, $"thread {parent.Task.Tid} waits inside vfork until its child {child} calls exec or ends, and cannot be made to wait in another way: the child {why}",
        "Try again a moment later");

    private static (VforkPages Pages, SecondThread Settings) Prepare(DumpThread parent, DumpThread first, RemoteSpace space)
    {
        SyscallBatch batch = space.Batch;
        RemoteAddress values = batch.Reserve(48);
        int clear = batch.Try(SyscallNumber.prctl, PR_GET_TID_ADDRESS, values);
        batch.Must("prctl(PR_GET_PDEATHSIG)", SyscallNumber.prctl, PR_GET_PDEATHSIG, values + 8);
        batch.Must("sigaltstack", SyscallNumber.sigaltstack, 0, values + 16);
        int mapped = batch.Must("mmap", SyscallNumber.mmap, 0, VforkPages.LengthBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        space.Run(first.Task);
        var pages = new VforkPages(new RemoteAddress((ulong)batch.Result(mapped).Raw));
        var settings = new SecondThread(batch.At<uint>(values + 8), batch.Bytes(values + 16, SecondThread.StackBytes).ToArray());
        bool hasClearTid = batch.Result(clear).Failed || batch.At<ulong>(values) != 0;
        batch.Clear();
        try
        {
            if (hasClearTid) throw Refuse(parent, first.Process, "has a word that is cleared at its end");
            foreach (SeccompData call in pages.CallsOfParent(first.Process.Pid))
            {
                if (Seccomp.Forbids(first.Task.Tid, call)) throw Refuse(parent, first.Process, "and its parent have a seccomp filter that forbids it");
            }

            pages.Fill(first.Task, space.EndSignal);
            pages.SetParentMask(first.Task, StatusOf(parent).Blocked);
            batch.Must("mprotect", SyscallNumber.mprotect, pages.Start, (long)PageSize, PROT_READ | PROT_EXEC);
            space.Run(first.Task);
            batch.Clear();
            return (pages, settings);
        }
        catch (CheckpointException)
        {
            Unmap(first.Task, pages, space);
            throw;
        }
    }

    /// <summary>Makes the second thread. It stands before code that ends it, unless the first one has ended.</summary>
    private static Tracee Bear(DumpThread first, VforkPages pages, int endSignal)
    {
        Tracee task = first.Task;
        UserRegs registers = task.Registers;
        registers.rip = pages.Bear.Value;
        registers.orig_rax = ulong.MaxValue;
        task.IsBorrowed = true;
        task.SetRegisters(registers); // before the mask: the code puts that back
        task.SetSignalMask(~(1UL << (endSignal - 1) | 1UL << (SIGTRAP - 1)));
        task.RunTo(endSignal);
        task.ReadRegisters(out UserRegs now).OrThrow("ptrace(GETREGSET)", $"task {task.Tid}");
        task.PutBack();
        int tid = (int)new SysResult((long)now.rbx).OrThrow("clone3", first.Process.ToString());
        var second = new Tracee(tid) { IgnoresTrap = task.IgnoresTrap };
        TaskStop stop = second.Wait();
        return !stop.Ended && second.LoadIfAlive() ? second : throw second.Died(stop);
    }

    /// <summary>Gives the second thread what clone(2) does not.</summary>
    private static void Equip(DumpThread first, Tracee second, VforkPages pages, RemoteSpace space, SecondThread settings)
    {
        string what = first.Process.ToString();
        byte* area = stackalloc byte[MaxXsaveBytes];
        Sys.PtraceGetRegSet(first.Task.Tid, NT_X86_XSTATE, area, MaxXsaveBytes, out int lengthBytes).OrThrow("ptrace(GETREGSET, X86_XSTATE)", what);
        Sys.PtraceSetRegSet(second.Tid, NT_X86_XSTATE, area, (ulong)lengthBytes).OrThrow("ptrace(SETREGSET, X86_XSTATE)", what);
        Scheduling.Copy(first.Task.Tid, second.Tid);
        pages.SetWord(first.Task, second.Tid);
        SyscallBatch batch = space.Batch;
        batch.Must("set_tid_address", SyscallNumber.set_tid_address, pages.Word);
        batch.Must("sigaltstack", SyscallNumber.sigaltstack, batch.Data(settings.SetableStack()), 0);
        batch.Must("prctl(PR_SET_PDEATHSIG)", SyscallNumber.prctl, PR_SET_PDEATHSIG, settings.ParentDeathSignal);
        space.Run(second);
        batch.Clear();
    }

    /// <summary>The step that cannot be taken back: the first thread ends, the parent comes out and waits anew, the second thread is the child.</summary>
    private static TimeSpan MoveInto(DumpThread parent, DumpThread first, Tracee second, VforkPages pages)
    {
        InterruptedCall.Rewind(first);
        pages.SetChild(first.Task);
        UserRegs registers = first.Task.Registers;
        registers.rip = pages.Handover.Value;
        first.Task.SetRegisters(registers);
        first.Task.SetSignalMask(ulong.MaxValue);
        long start = Stopwatch.GetTimestamp();
        Sys.Ptrace(PTRACE_CONT, first.Task.Tid).OrThrow("ptrace(CONT)", first.Process.ToString());
        Catch(parent.Task, pages);
        TimeSpan unsafeTime = Stopwatch.GetElapsedTime(start);
        first.Process.EndedLeader = first.Task;
        second.Registers = first.Task.Registers;
        second.SignalMask = first.Task.SignalMask;
        second.IsBorrowed = true;
        second.PutBack();
        var thread = new DumpThread(first.Process, second) { Status = first.Status, Stat = first.Stat };
        first.Process.ActThrough(thread);
        return unsafeTime;
    }

    /// <summary>Waits until the parent is out of vfork, which is at once, and sends it where it waits anew.</summary>
    private static void Catch(Tracee parent, VforkPages pages)
    {
        TaskStop stop = parent.Wait();
        if (stop.Ended || !pages.Redirect(parent)) return;
        // A signal that came first is blocked by now: the kernel keeps it for the time after.
        while (!stop.Ended && stop.Event != PTRACE_EVENT_STOP)
        {
            Sys.Ptrace(PTRACE_CONT, parent.Tid, 0, stop.Signal);
            stop = parent.Wait();
        }

        if (stop.IsGroupStop) parent.GroupStopSignal = stop.Signal;
    }

    private static void Undo(DumpProcess child, Tracee? second, VforkPages? pages, RemoteSpace space)
    {
        if (second is not null)
        {
            second.PutBack();
            Sys.Ptrace(PTRACE_CONT, second.Tid);
            while (!second.Wait().Ended)
            {
            }
        }

        if (pages is not null) Unmap(child.Leader.Task, pages, space);
        RemoteEntry.Close(child, space);
        space.Dispose();
    }

    private static void Unmap(Tracee task, VforkPages pages, RemoteSpace space)
    {
        space.Batch.Clear();
        space.Batch.Try(SyscallNumber.munmap, pages.Start, VforkPages.LengthBytes);
        space.Run(task);
        space.Batch.Clear();
    }

    /// <summary>What the second thread has to be told of the first.</summary>
    /// <param name="ParentDeathSignal">The signal, or 0.</param>
    /// <param name="Stack">Its alternate signal stack (stack_t).</param>
    private sealed record SecondThread(uint ParentDeathSignal, byte[] Stack)
    {
        public const int StackBytes = 24;

        /// <summary>SS_ONSTACK is where the stack pointer is, not a setting.</summary>
        public byte[] SetableStack()
        {
            const int flagsOffset = 8, onStack = 1;
            byte[] setable = [.. Stack];
            setable[flagsOffset] &= unchecked((byte)~onStack);
            return setable;
        }
    }
}
