using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>General registers, to and from their message.</summary>
internal static class Registers
{
    /// <summary>The registers as the image has them.</summary>
    public static UserX86RegsEntry ToEntry(in UserRegs r) => new()
    {
        R15 = r.r15,
        R14 = r.r14,
        R13 = r.r13,
        R12 = r.r12,
        Bp = r.rbp,
        Bx = r.rbx,
        R11 = r.r11,
        R10 = r.r10,
        R9 = r.r9,
        R8 = r.r8,
        Ax = r.rax,
        Cx = r.rcx,
        Dx = r.rdx,
        Si = r.rsi,
        Di = r.rdi,
        OrigAx = r.orig_rax,
        Ip = r.rip,
        Cs = r.cs,
        Flags = r.eflags,
        Sp = r.rsp,
        Ss = r.ss,
        FsBase = r.fs_base,
        GsBase = r.gs_base,
        Ds = r.ds,
        Es = r.es,
        Fs = r.fs,
        Gs = r.gs,
        Mode = UserX86RegsMode.Native,
    };

    /// <summary>The registers for PTRACE_SETREGSET.</summary>
    public static UserRegs FromEntry(UserX86RegsEntry e) => new()
    {
        r15 = e.R15,
        r14 = e.R14,
        r13 = e.R13,
        r12 = e.R12,
        rbp = e.Bp,
        rbx = e.Bx,
        r11 = e.R11,
        r10 = e.R10,
        r9 = e.R9,
        r8 = e.R8,
        rax = e.Ax,
        rcx = e.Cx,
        rdx = e.Dx,
        rsi = e.Si,
        rdi = e.Di,
        orig_rax = e.OrigAx,
        rip = e.Ip,
        cs = e.Cs,
        eflags = e.Flags,
        rsp = e.Sp,
        ss = e.Ss,
        fs_base = e.FsBase,
        gs_base = e.GsBase,
        ds = e.Ds,
        es = e.Es,
        fs = e.Fs,
        gs = e.Gs,
    };

    /// <summary>True for a task that runs 32-bit code.</summary>
    public static bool IsCompat(in UserRegs registers) => registers.cs == 0x23;

    /// <summary>Gives the tracee its registers.</summary>
    public static void Put(Tracee task, UserX86RegsEntry entry) => task.SetRegisters(FromEntry(entry));
}
