using System.Runtime.CompilerServices;

namespace CriuPmem.Remote;

/// <summary>One task under ptrace, and its registers as the program had them.</summary>
/// <remarks>All members belong to the thread that seized the task (ptrace(2)).</remarks>
internal sealed unsafe class Tracee
{
    private const int SyscallStopBit = 0x80; // PTRACE_O_TRACESYSGOOD

    private UserRegs _registers;

    /// <summary>Wraps a task that is traced already (new-born, or just seized).</summary>
    public Tracee(int tid) => Tid = tid;

    /// <summary>The thread id.</summary>
    public int Tid { get; }

    /// <summary>The program's registers: read by <see cref="LoadIfAlive"/>, put back by <see cref="PutBack"/>.</summary>
    public ref UserRegs Registers => ref _registers;

    /// <summary>The program's signal mask.</summary>
    public ulong SignalMask { get; set; }

    /// <summary>The signal of the group stop in which the task was found, or 0.</summary>
    public int GroupStopSignal { get; set; }

    /// <summary>
    /// A SIGSTOP came while the task ran what was loaded into it. No mask holds it back, and it is not let through then:
    /// whoever lets the process go sends it again.
    /// </summary>
    public bool WasToldToStop { get; private set; }

    /// <summary>
    /// The scratch whose batch the task has run, if it stands at the end of that and would run the next one by itself; else
    /// default.
    /// </summary>
    public RemoteAddress ReadyAt { get; set; }

    /// <summary>Its signal mask is a batch's: it was born in one.</summary>
    public bool IsMasked { get; set; }

    /// <summary>True while registers or mask are not the program's own.</summary>
    public bool IsBorrowed { get; set; }

    /// <summary>The program ignores SIGTRAP: a single step would reset that (the kernel forces the signal).</summary>
    public bool IgnoresTrap { get; set; }

    /// <summary>PTRACE_SEIZE and PTRACE_INTERRUPT; the stop is waited for separately.</summary>
    /// <returns>The error: ESRCH when the task is gone, EPERM when it is traced or protected.</returns>
    public static Errno Seize(int tid, int options)
    {
        SysResult seized = Sys.Ptrace(PTRACE_SEIZE, tid, 0, options);
        return seized.Failed ? seized.Errno : Sys.Ptrace(PTRACE_INTERRUPT, tid).Errno;
    }

    /// <summary>Waits until the task stops or ends.</summary>
    public TaskStop Wait()
    {
        SysResult waited = Sys.Wait4(Tid, out int status, __WALL);
        return waited.Failed ? new TaskStop(SIGKILL) : new TaskStop(status);
    }

    /// <summary>Looks whether the task has stopped or ended, without waiting.</summary>
    public bool TryWait(out TaskStop stop)
    {
        SysResult waited = Sys.Wait4(Tid, out int status, __WALL | WNOHANG);
        stop = waited.Failed ? new TaskStop(SIGKILL) : new TaskStop(status);
        return waited.Raw != 0;
    }

    /// <summary>True while the task stands in a ptrace stop; false when it has ended, or is about to (SIGKILL ends every stop).</summary>
    public bool IsStopped()
    {
        ulong message;
        return !Sys.Ptrace(PTRACE_GETEVENTMSG, Tid, 0, (long)&message).Failed;
    }

    /// <summary>Reads registers and signal mask of the stopped task.</summary>
    public bool LoadIfAlive()
    {
        fixed (UserRegs* registers = &_registers)
        {
            if (Sys.PtraceGetRegSet(Tid, NT_PRSTATUS, registers, (ulong)sizeof(UserRegs), out _).Failed) return false;
        }

        ulong mask = 0;
        if (Sys.Ptrace(PTRACE_GETSIGMASK, Tid, 8, (long)&mask).Failed) return false;
        SignalMask = mask;
        return true;
    }

    /// <summary>Sets the task's registers.</summary>
    public void SetRegisters(in UserRegs registers)
    {
        ReadyAt = default;
        fixed (UserRegs* pointer = &registers)
            Sys.PtraceSetRegSet(Tid, NT_PRSTATUS, pointer, (ulong)sizeof(UserRegs)).OrThrow("ptrace(SETREGSET)", $"task {Tid}");
    }

    /// <summary>Reads the task's present registers (not the program's own, while it is borrowed).</summary>
    public SysResult ReadRegisters(out UserRegs registers)
    {
        Unsafe.SkipInit(out registers);
        fixed (UserRegs* pointer = &registers)
            return Sys.PtraceGetRegSet(Tid, NT_PRSTATUS, pointer, (ulong)sizeof(UserRegs), out _);
    }

    /// <summary>Sets the task's signal mask.</summary>
    public SysResult SetSignalMask(ulong mask)
    {
        IsMasked = false;
        return Sys.Ptrace(PTRACE_SETSIGMASK, Tid, 8, (long)&mask);
    }

    /// <summary>Gives the program its registers and mask back; it stays stopped.</summary>
    /// <remarks>The mask first: a task left in the batch restores the mask by itself, one left in the program cannot.</remarks>
    public void PutBack()
    {
        if (!IsBorrowed) return;
        ReadyAt = default;
        SetSignalMask(SignalMask);
        fixed (UserRegs* pointer = &_registers)
            Sys.PtraceSetRegSet(Tid, NT_PRSTATUS, pointer, (ulong)sizeof(UserRegs));
        IsBorrowed = false;
    }

    /// <summary>PTRACE_DETACH, with a signal to deliver or 0. A group stop goes on by itself.</summary>
    public void Detach(int signal = 0) => Sys.Ptrace(PTRACE_DETACH, Tid, 0, signal);

    /// <summary>Lets the task run up to the signal that ends what was loaded into it.</summary>
    /// <exception cref="CheckpointException">It ended.</exception>
    public void RunTo(int endSignal)
    {
        Continue();
        WaitFor(endSignal);
    }

    /// <summary>Waits, of a task that runs what was loaded into it, for the signal that ends that.</summary>
    /// <exception cref="CheckpointException">It ended.</exception>
    public void WaitFor(int endSignal)
    {
        for (; ; Continue())
        {
            TaskStop stop = WaitForStop();
            if (stop.Event == 0 && stop.Signal == endSignal) return;
            if (stop.Event == 0 && stop.Signal == SIGTRAP) throw Faulted(stop);
        }
    }

    /// <summary>Waits, of a task that runs what was loaded into it, for the signal that ends that, or for a fault.</summary>
    /// <remarks>SIGSEGV and SIGBUS must not be held back, or the kernel resets the program's actions for them. Sent by somebody, they come again.</remarks>
    /// <returns>False when it has faulted: it stands at the instruction that did.</returns>
    /// <exception cref="CheckpointException">It ended.</exception>
    public bool TryWaitFor(int endSignal)
    {
        const int siginfoBytes = 128, codeOffset = 8;
        byte* siginfo = stackalloc byte[siginfoBytes];
        var sent = new List<int>();
        bool faulted = false;
        for (; ; Continue())
        {
            TaskStop stop = Wait();
            if (stop.Ended) throw Died(stop);
            if (stop.Event != 0) continue;
            if (stop.Signal == endSignal) break;
            if (stop.Signal == SIGSTOP) WasToldToStop = true;
            if (stop.Signal is SIGTRAP or SIGILL or SIGSYS) throw Faulted(stop);
            if (stop.Signal is not (SIGSEGV or SIGBUS)) continue;
            Sys.Ptrace(PTRACE_GETSIGINFO, Tid, 0, (long)siginfo).OrThrow("ptrace(GETSIGINFO)", $"task {Tid}");
            faulted = *(int*)(siginfo + codeOffset) > 0; // by the kernel
            if (faulted) break;
            sent.Add(stop.Signal);
        }

        foreach (int signal in sent) Syscall.Invoke(SyscallNumber.tkill, Tid, signal);
        return !faulted;
    }

    /// <summary>Lets the task run on, up to whatever stops it.</summary>
    public void Continue() => Sys.Ptrace(PTRACE_CONT, Tid).OrThrow("ptrace(CONT)", $"task {Tid}");

    /// <summary>Waits, of a task that runs, until it has made another (PTRACE_O_TRACEFORK, PTRACE_O_TRACECLONE), or stops with a signal.</summary>
    /// <param name="endSignal">The signal; 0 for none.</param>
    /// <returns>The other's id, as the engine sees it; 0 for the signal.</returns>
    /// <exception cref="CheckpointException">It ended.</exception>
    public int WaitForChild(int endSignal)
    {
        for (; ; Continue())
        {
            TaskStop stop = WaitForStop();
            if (stop.Event is PTRACE_EVENT_FORK or PTRACE_EVENT_CLONE)
            {
                ulong child;
                Sys.Ptrace(PTRACE_GETEVENTMSG, Tid, 0, (long)&child).OrThrow("ptrace(GETEVENTMSG)", $"task {Tid}");
                return (int)child;
            }

            if (stop.Event != 0) continue;
            if (stop.Signal == endSignal) return 0;
            if (stop.Signal == SIGTRAP) throw Faulted(stop);
        }
    }

    /// <summary>Executes one system call at the instruction at <paramref name="instruction"/>, by a single step.</summary>
    /// <remarks>
    /// For the few calls before and after the scratch mapping exists. All signals are blocked meanwhile, but SIGTRAP: a
    /// forced SIGTRAP that is blocked resets the program's action for it.
    /// </remarks>
    public SysResult StepCall(RemoteAddress instruction, long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0)
    {
        BeginStep(instruction, number, a, b, c, d, e, f);
        return EndStep(instruction);
    }

    /// <summary>As <see cref="StepCall"/>, but does not wait: <see cref="EndStep"/> does.</summary>
    public void BeginStep(RemoteAddress instruction, long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0)
    {
        PrepareCall(instruction, number, a, b, c, d, e, f);
        if (!IgnoresTrap) Step();
    }

    /// <summary>Waits for the end of a call that <see cref="BeginStep"/> began.</summary>
    public SysResult EndStep(RemoteAddress instruction)
    {
        if (IgnoresTrap) return FinishBySyscallStops();
        for (; ; Step())
        {
            TaskStop stop = WaitForStop();
            ReadRegisters(out UserRegs now).OrThrow("ptrace(GETREGSET)", $"task {Tid}");
            if (stop.Signal == SIGTRAP && stop.Event == 0) return new SysResult((long)now.rax);
            if (now.rip != instruction.Value) return new SysResult((long)now.rax);
        }
    }

    private void Step() => Sys.Ptrace(PTRACE_SINGLESTEP, Tid).OrThrow("ptrace(SINGLESTEP)", $"task {Tid}");

    private void PrepareCall(RemoteAddress instruction, long number, long a, long b, long c, long d, long e, long f)
    {
        UserRegs call = _registers;
        call.rip = instruction.Value;
        call.rax = (ulong)number;
        call.orig_rax = ulong.MaxValue;
        call.rdi = (ulong)a;
        call.rsi = (ulong)b;
        call.rdx = (ulong)c;
        call.r10 = (ulong)d;
        call.r8 = (ulong)e;
        call.r9 = (ulong)f;
        IsBorrowed = true;
        SetSignalMask(~(1UL << (SIGTRAP - 1)));
        SetRegisters(call);
    }

    /// <summary>
    /// Executes one system call and interrupts it where it waits (ptrace(2), PTRACE_INTERRUPT), in four steps, so that many
    /// tasks can do so at the same time: this one begins it.
    /// </summary>
    public void BeginInterruptedCall(RemoteAddress instruction, long number, long a, long b, long c, long d)
    {
        PrepareCall(instruction, number, a, b, c, d, 0, 0);
        RunOnToSyscallStop();
    }

    /// <summary>The second step: an interruption waits for the task as it goes into the call.</summary>
    public void InterruptCall()
    {
        WaitForSyscallStop();
        Interrupt();
        RunOnToSyscallStop();
    }

    /// <summary>The third step: from the call's end to a stop before the program.</summary>
    /// <returns>The call's raw result: -516 (ERESTART_RESTARTBLOCK) and the like when it was interrupted.</returns>
    public long LeaveCall()
    {
        WaitForSyscallStop();
        ReadRegisters(out UserRegs now).OrThrow("ptrace(GETREGSET)", $"task {Tid}");
        Interrupt();
        Continue();
        return (long)now.rax;
    }

    /// <summary>Stops at the call's entry and exit, and then once more, so that a restart at detach works as from any stop.</summary>
    private SysResult FinishBySyscallStops()
    {
        RunToSyscallStop();
        RunToSyscallStop();

        ReadRegisters(out UserRegs now).OrThrow("ptrace(GETREGSET)", $"task {Tid}");
        StopAgain();
        return new SysResult((long)now.rax);
    }

    private void RunToSyscallStop()
    {
        RunOnToSyscallStop();
        WaitForSyscallStop();
    }

    private void RunOnToSyscallStop() => Sys.Ptrace(PTRACE_SYSCALL, Tid).OrThrow("ptrace(SYSCALL)", $"task {Tid}");

    private void WaitForSyscallStop()
    {
        for (; ; RunOnToSyscallStop())
        {
            TaskStop stop = WaitForStop();
            if ((stop.Signal & ~SyscallStopBit) == SIGTRAP && stop.Event == 0) return;
        }
    }

    private void Interrupt() => Sys.Ptrace(PTRACE_INTERRUPT, Tid).OrThrow("ptrace(INTERRUPT)", $"task {Tid}");

    /// <summary>From a system call's exit stop to a stop before the program: nothing of the program runs in between.</summary>
    public void StopAgain()
    {
        Interrupt();
        Continue();
        WaitForInterruption();
    }

    /// <summary>Waits for the stop that PTRACE_INTERRUPT asked for: after <see cref="LeaveCall"/> the fourth step.</summary>
    public void WaitForInterruption()
    {
        for (; ; Continue())
        {
            TaskStop stop = WaitForStop();
            if (stop.IsInterrupt) return;
        }
    }

    /// <summary>Waits for a stop of a task that runs what was loaded into it.</summary>
    /// <exception cref="CheckpointException">It ended, or it faulted, which it would do again for ever.</exception>
    private TaskStop WaitForStop()
    {
        TaskStop stop = Wait();
        if (stop.Ended) throw Died(stop);
        if (stop.Event == 0 && stop.Signal == SIGSTOP) WasToldToStop = true;
        return stop.Event == 0 && stop.Signal is SIGSEGV or SIGBUS or SIGILL or SIGSYS ? throw Faulted(stop) : stop;
    }

    private CheckpointException Faulted(TaskStop stop) =>
        new(ErrorCode.Internal, $"remote calls stopped with signal {stop.Signal}") { Pid = Tid };

    /// <summary>The exception for a task that ended under our hands.</summary>
    public CheckpointException Died(TaskStop stop) => new(ErrorCode.Vanished, $"the task ended while it was worked on: it was {stop.Describe()}")
    {
        Pid = Tid,
        Remedy = "Try again if the program ended by itself",
    };
}
