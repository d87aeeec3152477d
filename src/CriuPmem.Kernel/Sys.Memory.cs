namespace CriuPmem.Kernel;

internal static unsafe partial class Sys
{
    /// <summary>mmap(2) in the engine itself.</summary>
    public static SysResult Mmap(ulong address, ulong lengthBytes, int prot, int flags, int fd, long offset) =>
        Syscall.Invoke(SyscallNumber.mmap, (long)address, (long)lengthBytes, prot, flags, fd, offset);

    /// <summary>munmap(2).</summary>
    public static SysResult Munmap(ulong address, ulong lengthBytes) => Syscall.Invoke(SyscallNumber.munmap, (long)address, (long)lengthBytes);

    /// <summary>madvise(2).</summary>
    public static SysResult Madvise(ulong address, ulong lengthBytes, int advice) =>
        Syscall.Invoke(SyscallNumber.madvise, (long)address, (long)lengthBytes, advice);

    /// <summary>process_vm_readv(2), one range.</summary>
    public static SysResult ProcessVmRead(int pid, ulong remote, void* local, ulong lengthBytes)
    {
        ulong* from = stackalloc ulong[2] { remote, lengthBytes };
        ulong* to = stackalloc ulong[2] { (ulong)local, lengthBytes };
        return Syscall.Invoke(SyscallNumber.process_vm_readv, pid, (long)to, 1, (long)from, 1);
    }

    /// <summary>process_vm_writev(2), one range.</summary>
    public static SysResult ProcessVmWrite(int pid, ulong remote, void* local, ulong lengthBytes)
    {
        ulong* to = stackalloc ulong[2] { remote, lengthBytes };
        ulong* from = stackalloc ulong[2] { (ulong)local, lengthBytes };
        return Syscall.Invoke(SyscallNumber.process_vm_writev, pid, (long)from, 1, (long)to, 1);
    }
}
