using CriuPmem.Engine.Dump;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>System calls that the freeze interrupted: how they go on, in the same task and in a restored one.</summary>
/// <remarks>
/// A task stopped inside a call shows rax = -ERESTART…; on resume the kernel restarts the call by itself. In a restored
/// task nothing does: the image has the task stand before its call again. ERESTART_RESTARTBLOCK depends on state in the
/// kernel (the end of the wait): the image says -EINTR, as the peer does, and our own field has the call armed again
/// (<see cref="ThreadMoreEntry.RestartCall"/>).
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
        thread.Task.IsBorrowed = true;
    }

    /// <summary>The registers as a restored task shall have them.</summary>
    public static UserRegs ForImage(in UserRegs registers, ThreadCoreEntry core)
    {
        UserRegs image = registers;
        if ((long)registers.orig_rax < 0) return image;
        switch (-(long)registers.rax)
        {
            case (long)Errno.ERESTARTSYS or (long)Errno.ERESTARTNOINTR or (long)Errno.ERESTARTNOHAND:
                image.rax = registers.orig_rax;
                image.rip -= SyscallInstructionBytes;
                break;
            case (long)Errno.ERESTART_RESTARTBLOCK:
                image.rax = unchecked((ulong)-(long)Errno.EINTR);
                (core.More ??= new ThreadMoreEntry()).RestartCall = (uint)registers.orig_rax;
                break;
        }

        return image;
    }

    /// <summary>True when the image asks for a call that waits on a kernel timer to be armed again.</summary>
    public static bool IsWanted(ThreadCoreEntry core) => core.More is { HasRestartCall: true };
}
