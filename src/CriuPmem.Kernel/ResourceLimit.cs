namespace CriuPmem.Kernel;

/// <summary>The engine's own limits (getrlimit(2)).</summary>
public static unsafe class ResourceLimit
{
    private const int RLIMIT_NOFILE = 7;

    /// <summary>Open files up to the hard limit: a copy of every open file of a tree passes through the engine.</summary>
    public static void RaiseOpenFiles()
    {
        ulong* limit = stackalloc ulong[2]; // soft, hard
        if (Syscall.Invoke(SyscallNumber.prlimit64, 0, RLIMIT_NOFILE, 0, (long)limit).Failed || limit[0] == limit[1]) return;
        limit[0] = limit[1];
        Syscall.Invoke(SyscallNumber.prlimit64, 0, RLIMIT_NOFILE, (long)limit, 0);
    }
}
