using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>System calls that the freeze interrupted: how they go on, in the same task and in a restored one.</summary>
/// <remarks>
/// A task stopped inside a call shows rax = -ERESTART…; on resume the kernel restarts the call by itself. In a restored
/// task nothing does: the image has the task stand before its call again. ERESTART_RESTARTBLOCK depends on state in the
/// kernel (the end of the wait): the image says -EINTR, as the peer does, and our own field
/// (<see cref="ThreadMoreEntry.RestartCall"/>) has the call made again. The kernel goes on with such a call by
/// restart_syscall(2), which is a call of its own to seccomp filters: where they forbid it (a list of what is allowed
/// hardly ever has it), the thread makes its first call again instead.
/// </remarks>
internal static class InterruptedCall
{
    private const ulong SyscallInstructionBytes = 2;

    /// <summary>
    /// Calls that only wait and answer -EINTR even to a bare stop (signal(7)): stopping has no business to be seen, so
    /// they are made again.
    /// </summary>
    private static readonly HashSet<ulong> s_pureWaits =
    [
        SyscallNumber.epoll_wait, SyscallNumber.epoll_pwait, SyscallNumber.epoll_pwait2, SyscallNumber.rt_sigtimedwait,
        SyscallNumber.semop, SyscallNumber.semtimedop, SyscallNumber.io_getevents, SyscallNumber.io_pgetevents,
    ];

    /// <summary>Has a frozen thread, if it stood in such a call, make it again.</summary>
    public static void Rearm(DumpThread thread)
    {
        ref UserRegs registers = ref thread.Task.Registers;
        if ((long)registers.rax != -(long)Errno.EINTR || !s_pureWaits.Contains(registers.orig_rax)) return;
        registers.rax = registers.orig_rax;
        registers.orig_rax = ulong.MaxValue;
        registers.rip -= SyscallInstructionBytes;
        thread.Task.SetRegisters(registers); // at once: it must not see the error if the engine dies
    }

    /// <summary>
    /// Has a thread that has just stopped make its call anew if its seccomp filters would kill it, or tell it lies, for
    /// going on. Before anything else, since an engine that ends lets the thread go on: what is left are the microseconds
    /// between the stop and here, in which any tracer's death does that harm.
    /// </summary>
    public static void AvoidForbiddenRestart(DumpThread thread)
    {
        ref UserRegs registers = ref thread.Task.Registers;
        if ((long)registers.orig_rax < 0 || (long)registers.rax != -(long)Errno.ERESTART_RESTARTBLOCK) return;
        if (!Seccomp.Forbids(thread.Task.Tid, RestartOf(registers))) return;
        Rewind(thread);
        thread.Task.SetRegisters(registers);
    }

    /// <summary>
    /// The registers of a thread that stands in an interrupted call, so changed that the call is made again, by whichever
    /// task has them: what it had waited is waited for again, never less. -EINTR where the call is not known.
    /// </summary>
    public static void Rewind(DumpThread thread)
    {
        ref UserRegs registers = ref thread.Task.Registers;
        if ((long)registers.orig_rax < 0) return;
        (ulong rax, ulong rip) = registers.AfterRestart();
        if ((long)registers.rax == -(long)Errno.ERESTART_RESTARTBLOCK)
        {
            long number = (long)registers.orig_rax;
            if (number == SyscallNumber.restart_syscall) number = OriginalNumber(thread.Process, registers);
            (rax, rip) = number < 0 ? (unchecked((ulong)-(long)Errno.EINTR), registers.rip) : ((ulong)number, rip);
        }

        (registers.rax, registers.rip, registers.orig_rax) = (rax, rip, ulong.MaxValue);
    }

    private static SeccompData RestartOf(in UserRegs registers) => new(
        SyscallNumber.restart_syscall, registers.rip, registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9);

    /// <summary>The registers as a restored task shall have them.</summary>
    public static UserRegs ForImage(DumpThread thread)
    {
        UserRegs image = thread.Task.Registers;
        if ((long)image.orig_rax < 0) return image;
        switch (-(long)image.rax)
        {
            case (long)Errno.ERESTARTSYS or (long)Errno.ERESTARTNOINTR or (long)Errno.ERESTARTNOHAND:
                image.rax = image.orig_rax;
                image.rip -= SyscallInstructionBytes;
                break;
            case (long)Errno.ERESTART_RESTARTBLOCK:
                long number = (long)image.orig_rax;
                image.rax = unchecked((ulong)-(long)Errno.EINTR);
                if (number == SyscallNumber.restart_syscall) number = OriginalNumber(thread.Process, image);
                if (number >= 0) (thread.Core.ThreadCore.More ??= new ThreadMoreEntry()).RestartCall = (uint)number;
                break;
        }

        return image;
    }

    /// <summary>
    /// Has a restored thread make its call again. The time that had passed is not known and waited for again, never less,
    /// unless the call had written down what was left (nanosleep(2)): then the call is made with that, stopped where it
    /// waits, and the kernel's restart block is the new task's own.
    /// </summary>
    /// <param name="context">The restore.</param>
    /// <param name="thread">The thread, its final registers set but not put back.</param>
    /// <param name="instruction">A <c>syscall</c> instruction in its memory.</param>
    /// <returns>A call that has begun, for <see cref="Complete"/>; null when there is none.</returns>
    public static Armed? Begin(RestoreContext context, RestoreThread thread, RemoteAddress instruction)
    {
        if (thread.Core.ThreadCore.More is not { HasRestartCall: true } more) return null;
        ref UserRegs final = ref thread.Task.Registers;
        bool mayGoOn = !Seccomp.Forbids(context, thread, RestartOf(final));
        switch (more.RestartCall)
        {
            case SyscallNumber.nanosleep when mayGoOn && final.rsi != 0:
                return Arm(thread.Task, instruction, more.RestartCall, (long)final.rsi, (long)final.rsi, 0, 0);
            case SyscallNumber.clock_nanosleep when mayGoOn && final.r10 != 0 && final.rsi == 0:
                return Arm(thread.Task, instruction, more.RestartCall, (long)final.rdi, 0, (long)final.r10, (long)final.r10);
            default:
                final.rax = more.RestartCall;
                final.orig_rax = ulong.MaxValue;
                final.rip -= SyscallInstructionBytes;
                return null;
        }
    }

    /// <summary>Interrupts calls that have begun, all of them at the same time, so that the kernel goes on with them later.</summary>
    public static void Complete(List<Armed> calls)
    {
        foreach (Armed call in calls) call.Task.InterruptCall();
        foreach (Armed call in calls)
        {
            long result = call.Task.LeaveCall();
            ref UserRegs final = ref call.Task.Registers;
            final.rax = (ulong)result;
            final.orig_rax = result == -(long)Errno.ERESTART_RESTARTBLOCK ? (ulong)call.Number : ulong.MaxValue;
        }

        foreach (Armed call in calls) call.Task.WaitForInterruption();
    }

    private static Armed Arm(Tracee task, RemoteAddress instruction, long number, long a, long b, long c, long d)
    {
        task.BeginInterruptedCall(instruction, number, a, b, c, d);
        return new Armed(task, number);
    }

    /// <summary>A call that a task goes into.</summary>
    /// <param name="Task">The task.</param>
    /// <param name="Number">The call.</param>
    public sealed record Armed(Tracee Task, long Number);

    /// <summary>
    /// The call that a thread in restart_syscall(2), after an earlier stop, had made: by the instruction that loads its
    /// number where that stands before the call, else by its arguments; -1 when they fit several.
    /// </summary>
    private static long OriginalNumber(DumpProcess process, in UserRegs registers)
    {
        Span<byte> code = stackalloc byte[7]; // mov eax, imm32; syscall
        if (process.TryRead(registers.rip - 7, code) && code[0] == 0xB8 && code[5] == 0x0F && code[6] == 0x05)
        {
            int number = BitConverter.ToInt32(code[1..]);
            if (number is SyscallNumber.nanosleep or SyscallNumber.clock_nanosleep or SyscallNumber.poll or SyscallNumber.futex) return number;
        }

        bool IsTime(ulong address, in DumpProcess of)
        {
            Span<byte> time = stackalloc byte[16];
            return address >= PageSize && of.TryRead(address, time) && BitConverter.ToInt64(time) >= 0 && BitConverter.ToUInt64(time[8..]) < 1_000_000_000;
        }

        const ulong futexCommands = 0x7F;
        var fits = new List<long>();
        if (IsTime(registers.rdi, process) && (registers.rsi == 0 || registers.rsi >= PageSize)) fits.Add(SyscallNumber.nanosleep);
        if ((long)(int)registers.rdi is > -0x10000000 and < 16 && registers.rsi <= 1 && IsTime(registers.rdx, process)) fits.Add(SyscallNumber.clock_nanosleep);
        if (registers.rdi >= PageSize && registers.rsi < 1024 && (registers.rsi & futexCommands) is 0 or 9 && IsTime(registers.r10, process)) fits.Add(SyscallNumber.futex);
        else if (registers.rsi < PageSize && (int)registers.rdx > 0) fits.Add(SyscallNumber.poll);
        return fits.Count == 1 ? fits[0] : -1;
    }
}
