using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>struct user_regs_struct of x86-64 (sys/user.h), as PTRACE_GETREGSET with NT_PRSTATUS fills it.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UserRegs
{
    public ulong r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs, eflags, rsp, ss;
    public ulong fs_base, gs_base, ds, es, fs, gs;

    /// <summary>
    /// Where a task goes on that stands in an interrupted call, if the kernel does not see to it: as it would on the way
    /// out of a stop (ERESTARTSYS and its kin; arch/x86 signal handling), done by hand.
    /// </summary>
    /// <returns>The values for rax and rip.</returns>
    public readonly (ulong Rax, ulong Rip) AfterRestart()
    {
        if ((long)orig_rax < 0) return (rax, rip);
        return -(long)rax switch
        {
            (long)Errno.ERESTARTSYS or (long)Errno.ERESTARTNOINTR or (long)Errno.ERESTARTNOHAND => (orig_rax, rip - 2),
            (long)Errno.ERESTART_RESTARTBLOCK => (SyscallNumber.restart_syscall, rip - 2),
            _ => (rax, rip),
        };
    }
}
