namespace CriuPmem.Kernel;

internal static unsafe partial class Sys
{
    /// <summary>ptrace(2) by its raw arguments.</summary>
    public static SysResult Ptrace(int request, int tid, long address = 0, long data = 0) =>
        Syscall.Invoke(SyscallNumber.ptrace, request, tid, address, data);

    /// <summary>PTRACE_GETREGSET; returns the length filled in, in bytes.</summary>
    public static SysResult PtraceGetRegSet(int tid, int type, void* buffer, ulong capacityBytes, out int lengthBytes)
    {
        ulong* vector = stackalloc ulong[2] { (ulong)buffer, capacityBytes };
        SysResult result = Ptrace(PTRACE_GETREGSET, tid, type, (long)vector);
        lengthBytes = (int)vector[1];
        return result;
    }

    /// <summary>PTRACE_SETREGSET.</summary>
    public static SysResult PtraceSetRegSet(int tid, int type, void* buffer, ulong lengthBytes)
    {
        ulong* vector = stackalloc ulong[2] { (ulong)buffer, lengthBytes };
        return Ptrace(PTRACE_SETREGSET, tid, type, (long)vector);
    }
}
