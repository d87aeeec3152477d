namespace CriuPmem.Engine.Check.Probes;

/// <summary>ptrace(2) that stops a task without a signal.</summary>
internal sealed class PtraceSeize : FeatureProbe
{
    public override string Name => "ptrace_seize";
    public override string Purpose => "stop a process without its knowing";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        using TracedChild child = TracedChild.Start(0);
        return null;
    }
}

/// <summary>The whole vector state as one register set.</summary>
internal sealed unsafe class XState : FeatureProbe
{
    private const int PTRACE_GETREGSET = 0x4204;
    private const int NT_X86_XSTATE = 0x202;

    public override string Name => "xstate";
    public override string Purpose => "save floating point and vector registers";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        using TracedChild child = TracedChild.Start(0);
        byte* state = stackalloc byte[16384];
        long* iovec = stackalloc long[2];
        iovec[0] = (long)state;
        iovec[1] = 16384;
        return Missing(child.Ptrace(PTRACE_GETREGSET, NT_X86_XSTATE, (long)iovec), "ptrace(PTRACE_GETREGSET)");
    }
}

/// <summary>The rseq registration of a task, told to its tracer (Linux 5.13).</summary>
internal sealed unsafe class RseqConf : FeatureProbe
{
    private const int PTRACE_GET_RSEQ_CONFIGURATION = 0x420f;

    public override string Name => "get_rseq_conf";
    public override string OtherName => "rseq_conf";
    public override string Purpose => "programs that use restartable sequences (glibc 2.35 and later)";

    protected override string? Probe(CheckOptions options)
    {
        using TracedChild child = TracedChild.Start(0);
        long* configuration = stackalloc long[4];
        return Missing(child.Ptrace(PTRACE_GET_RSEQ_CONFIGURATION, 32, (long)configuration), "ptrace(PTRACE_GET_RSEQ_CONFIGURATION)");
    }
}

/// <summary>Seccomp filters that can be set aside for remote calls.</summary>
internal sealed class SeccompSuspend : FeatureProbe
{
    private const int PTRACE_SETOPTIONS = 0x4200;
    private const int PTRACE_O_SUSPEND_SECCOMP = 1 << 21;

    public override string Name => "seccomp_suspend";
    public override string Purpose => "programs under seccomp";

    protected override string? Probe(CheckOptions options)
    {
        using TracedChild child = TracedChild.Start(0);
        return Missing(child.Ptrace(PTRACE_SETOPTIONS, 0, PTRACE_O_SUSPEND_SECCOMP), "ptrace(PTRACE_O_SUSPEND_SECCOMP)");
    }
}

/// <summary>Seccomp filters that can be read back.</summary>
internal sealed unsafe class SeccompFilters : FeatureProbe
{
    private const int PTRACE_SECCOMP_GET_FILTER = 0x420c;
    private const int PR_SET_NO_NEW_PRIVS = 38;
    private const int SECCOMP_SET_MODE_FILTER = 1;

    public override string Name => "seccomp_filters";
    public override string Purpose => "programs with seccomp filters";

    protected override string? Probe(CheckOptions options)
    {
        ulong allow = 0x7FFF0000_00000006; // struct sock_filter: BPF_RET | BPF_K, SECCOMP_RET_ALLOW
        long* program = stackalloc long[2]; // struct sock_fprog: one instruction
        program[0] = 1;
        program[1] = (long)&allow;
        using TracedChild child = TracedChild.Start(
            0,
            new ChildCalls.Call(SyscallNumber.prctl, PR_SET_NO_NEW_PRIVS, 1),
            new ChildCalls.Call(SyscallNumber.seccomp, SECCOMP_SET_MODE_FILTER, 0, (long)program));
        SysResult length = child.Ptrace(PTRACE_SECCOMP_GET_FILTER);
        return length.Raw == 1 ? null : Missing(length, "ptrace(PTRACE_SECCOMP_GET_FILTER)") ?? "another filter is there than was set";
    }
}

/// <summary>Processes with a pid of one's choice (Linux 5.5).</summary>
internal sealed class CloneSetTid : FeatureProbe
{
    private const int __WALL = 0x40000000;

    public override string Name => "clone3_set_tid";
    public override string OtherName => "set_tid";
    public override string Purpose => "give restored processes their pids";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        for (int pid = 32000; pid > 300; pid -= 7)
        {
            if (ProbeFile.Exists($"/proc/{pid}")) continue;
            SysResult started = ChildCalls.Start([new ChildCalls.Call(SyscallNumber.exit_group)], ChildCalls.Copy, pid);
            if (started.Errno == Errno.EEXIST) continue;
            if (started.Failed) return Missing(started, "clone3 with set_tid");
            Syscall.Invoke(SyscallNumber.wait4, started.Value, 0, __WALL);
            return started.Value == pid ? null : $"clone3 gave pid {started.Value} instead of {pid}";
        }

        return "no free pid was found to try it with";
    }
}

/// <summary>Descriptors fetched from another process (Linux 5.6).</summary>
internal sealed class PidfdGetfd : FeatureProbe
{
    public override string Name => "pidfd_getfd";
    public override string OtherName => "pidfd_store";
    public override string Purpose => "fetch open files of a process";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        int self = Syscall.Quick(SyscallNumber.getpid).Value;
        using ProbeFile process = ProbeFile.Of(Syscall.Invoke(SyscallNumber.pidfd_open, self), "pidfd_open");
        using ProbeFile file = ProbeFile.Of(Syscall.Invoke(SyscallNumber.pidfd_getfd, process.Value, process.Value), "pidfd_getfd");
        return null;
    }
}

/// <summary>Comparison of kernel objects of two processes.</summary>
internal sealed class Kcmp : FeatureProbe
{
    private const int KCMP_VM = 1;

    public override string Name => "kcmp";
    public override string Purpose => "see what processes share";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        int self = Syscall.Quick(SyscallNumber.getpid).Value;
        return Missing(Syscall.Invoke(SyscallNumber.kcmp, self, self, KCMP_VM), "kcmp");
    }
}

/// <summary>Comparison of what an epoll descriptor watches (Linux 4.13).</summary>
internal sealed unsafe class KcmpEpoll : FeatureProbe
{
    private const int KCMP_EPOLL_TFD = 7;
    private const int EPOLL_CTL_ADD = 1;

    public override string Name => "kcmp_epoll";
    public override string Purpose => "epoll descriptors that watch duplicated files";

    protected override string? Probe(CheckOptions options)
    {
        int self = Syscall.Quick(SyscallNumber.getpid).Value;
        using ProbeFile epoll = ProbeFile.Of(Syscall.Invoke(SyscallNumber.epoll_create1, 0x80000), "epoll_create1");
        using ProbeFile watched = ProbeFile.Of(Syscall.Invoke(SyscallNumber.eventfd2, 0, 0x80000), "eventfd2");
        byte* epollEvent = stackalloc byte[12];
        new Span<byte>(epollEvent, 12).Clear();
        Syscall.Invoke(SyscallNumber.epoll_ctl, epoll.Value, EPOLL_CTL_ADD, watched.Value, (long)epollEvent).OrThrow("epoll_ctl", "probe");
        uint* slot = stackalloc uint[3]; // struct kcmp_epoll_slot: epoll fd, watched fd, which of several
        (slot[0], slot[1], slot[2]) = ((uint)epoll.Value, (uint)watched.Value, 0);
        SysResult same = Syscall.Invoke(SyscallNumber.kcmp, self, self, KCMP_EPOLL_TFD, watched.Value, (long)slot);
        return same.Raw == 0 ? null : Missing(same, "kcmp(KCMP_EPOLL_TFD)") ?? "kcmp(KCMP_EPOLL_TFD) sees two files in one";
    }
}

/// <summary>Timer ids of one's choice (Linux 6.16).</summary>
internal sealed class TimerCrIds : FeatureProbe
{
    private const int PR_TIMER_CREATE_RESTORE_IDS = 77;
    private const int PR_TIMER_CREATE_RESTORE_IDS_GET = 2;

    public override string Name => "timer_cr_ids";
    public override string Purpose => "restore POSIX timers with large ids at once";

    protected override string? Probe(CheckOptions options) =>
        Missing(Syscall.Invoke(SyscallNumber.prctl, PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET), "prctl(PR_TIMER_CREATE_RESTORE_IDS)");
}

/// <summary>Pids of all pid namespaces in /proc/PID/status.</summary>
internal sealed class NsPid : FeatureProbe
{
    public override string Name => "ns_pid";
    public override string Purpose => "see a process's pid in every pid namespace";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options) =>
        ProbeFile.Read("/proc/self/status").Contains("\nNSpid:", StringComparison.Ordinal) ? null : "/proc/PID/status has no NSpid";
}

/// <summary>The audit system's login uid.</summary>
internal sealed unsafe class LoginUid : FeatureProbe
{
    public override string Name => "loginuid";
    public override string Purpose => "keep who logged in";

    protected override string? Probe(CheckOptions options)
    {
        string path = "/proc/self/loginuid";
        if (!ProbeFile.Exists(path)) return "the kernel is built without audit";
        byte[] own = LinuxText.Encode(ProbeFile.Read(path));
        const int O_WRONLY = 1;
        using ProbeFile file = ProbeFile.Open(path, O_WRONLY);
        fixed (byte* bytes = own) return Missing(Syscall.Invoke(SyscallNumber.write, file.Value, (long)bytes, own.Length), "setting it");
    }
}

/// <summary>User namespaces.</summary>
internal sealed class UserNs : FeatureProbe
{
    public override string Name => "userns";
    public override string Purpose => "processes in user namespaces";

    protected override string? Probe(CheckOptions options) =>
        ProbeFile.Exists("/proc/self/ns/user") ? null : "the kernel is built without user namespaces";
}

/// <summary>Time namespaces (Linux 5.6).</summary>
internal sealed class TimeNs : FeatureProbe
{
    public override string Name => "timens";
    public override string Purpose => "let a restored program's clocks go on";

    protected override string? Probe(CheckOptions options) =>
        ProbeFile.Exists("/proc/self/timens_offsets") ? null : "the kernel is built without time namespaces";
}
