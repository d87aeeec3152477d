using CriuPmem.Kernel;

namespace CriuPmem.Cli.Hooks;

/// <summary>Waits for processes to end (waitid(2), pidfd_open(2)).</summary>
internal static unsafe class ChildExit
{
    private const int P_PID = 1;
    private const int WEXITED = 4;
    private const int __WALL = 0x40000000;
    private const int CLD_EXITED = 1;

    /// <summary>Waits for a child, and reaps it.</summary>
    /// <param name="pid">The child.</param>
    /// <returns>Its exit status; 128 + the signal that killed it; -1 when it was not ours to wait for.</returns>
    public static int Wait(int pid)
    {
        int* info = stackalloc int[32]; // siginfo_t: si_code is the third word, si_status the seventh
        SysResult waited;
        do waited = Syscall.Invoke(SyscallNumber.waitid, P_PID, pid, (long)info, WEXITED | __WALL);
        while (waited.Errno == Errno.EINTR);
        if (waited.Failed) return -1;
        return info[2] == CLD_EXITED ? info[6] : 128 + info[6];
    }

    /// <summary>Waits for the end of a process, whoever its parent is.</summary>
    public static void WaitForAny(int pid)
    {
        if (Wait(pid) >= 0) return;
        SysResult opened = Syscall.Invoke(SyscallNumber.pidfd_open, pid);
        if (opened.Failed) return; // it has ended, and its parent has reaped it
        const int POLLIN = 1;
        long pollfd = (uint)opened.Value | ((long)POLLIN << 32);
        SysResult polled;
        do polled = Syscall.Invoke(SyscallNumber.poll, (long)&pollfd, 1, -1);
        while (polled.Errno == Errno.EINTR);
        Syscall.Invoke(SyscallNumber.close, opened.Value);
    }
}
