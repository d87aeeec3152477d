namespace CriuPmem.Kernel;

internal static unsafe partial class Sys
{
    /// <summary>getpid(2).</summary>
    public static int GetPid() => Syscall.Quick(SyscallNumber.getpid).Value;

    /// <summary>wait4(2) for one task; retried when interrupted.</summary>
    /// <returns>The task's id, 0 (with WNOHANG) or an error; <paramref name="status"/> is the wait status.</returns>
    public static SysResult Wait4(int pid, out int status, int options)
    {
        int value = 0;
        SysResult result;
        do result = Syscall.Invoke(SyscallNumber.wait4, pid, (long)&value, options, 0);
        while (result.Errno == Errno.EINTR);
        status = value;
        return result;
    }

    /// <summary>kill(2).</summary>
    public static SysResult Kill(int pid, int signal) => Syscall.Invoke(SyscallNumber.kill, pid, signal);

    /// <summary>tgkill(2).</summary>
    public static SysResult TgKill(int pid, int tid, int signal) => Syscall.Invoke(SyscallNumber.tgkill, pid, tid, signal);

    /// <summary>pidfd_open(2).</summary>
    public static SysResult PidfdOpen(int pid, int flags = 0) => Syscall.Invoke(SyscallNumber.pidfd_open, pid, flags);

    /// <summary>pidfd_getfd(2).</summary>
    public static SysResult PidfdGetFd(int pidfd, int fd) => Syscall.Invoke(SyscallNumber.pidfd_getfd, pidfd, fd, 0);

    /// <summary>kcmp(2): 0 equal, 1 less, 2 greater, 3 different.</summary>
    public static SysResult Kcmp(int a, int b, int type, long x = 0, long y = 0) => Syscall.Invoke(SyscallNumber.kcmp, a, b, type, x, y);

    /// <summary>prctl(2) in the engine itself.</summary>
    public static SysResult Prctl(int option, long a = 0, long b = 0, long c = 0, long d = 0) => Syscall.Invoke(SyscallNumber.prctl, option, a, b, c, d);

    /// <summary>sched_setaffinity(2) to one CPU.</summary>
    public static SysResult PinTo(int tid, int cpu)
    {
        ulong* mask = stackalloc ulong[16];
        mask[cpu / 64] = 1UL << (cpu % 64);
        return Syscall.Invoke(SyscallNumber.sched_setaffinity, tid, 128, (long)mask);
    }

    /// <summary>nanosleep(2), once.</summary>
    public static void SleepMicroseconds(int microseconds)
    {
        long* time = stackalloc long[2] { microseconds / 1_000_000, microseconds % 1_000_000 * 1000L };
        Syscall.Invoke(SyscallNumber.nanosleep, (long)time, 0);
    }

    public const int CLOCK_MONOTONIC = 1, CLOCK_BOOTTIME = 7;

    /// <summary>clock_gettime(2).</summary>
    public static (ulong Seconds, ulong Nanoseconds) Clock(int clock)
    {
        ulong* time = stackalloc ulong[2];
        Syscall.Quick(SyscallNumber.clock_gettime, clock, (long)time);
        return (time[0], time[1]);
    }

    /// <summary>geteuid(2): the user that the caller acts as.</summary>
    public static uint GetEffectiveUid() => (uint)Syscall.Quick(SyscallNumber.geteuid).Value;

    /// <summary>getpgid(2): the group of a process, 0 when it is gone.</summary>
    public static int GetPgid(int pid) => Math.Max(0, (int)Syscall.Quick(SyscallNumber.getpgid, pid).Raw);

    /// <summary>getsid(2): the session of a process, 0 when it is gone.</summary>
    public static int GetSid(int pid) => Math.Max(0, (int)Syscall.Quick(SyscallNumber.getsid, pid).Raw);
}
