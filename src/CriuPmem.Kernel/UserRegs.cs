using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>struct user_regs_struct of x86-64 (sys/user.h), as PTRACE_GETREGSET with NT_PRSTATUS fills it.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct UserRegs
{
    public ulong r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs, eflags, rsp, ss;
    public ulong fs_base, gs_base, ds, es, fs, gs;
}
