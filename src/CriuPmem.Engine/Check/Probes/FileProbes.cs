namespace CriuPmem.Engine.Check.Probes;

/// <summary>The mount of an open file.</summary>
internal sealed class MntId : FeatureProbe
{
    public override string Name => "mnt_id";
    public override string Purpose => "see which mount an open file is on";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        using ProbeFile file = ProbeFile.Open("/proc/self/maps");
        return ProbeFile.Read($"/proc/self/fdinfo/{file.Value}").Contains("mnt_id:", StringComparison.Ordinal)
            ? null
            : "/proc/PID/fdinfo has no mnt_id";
    }
}

/// <summary>Files in memory alone.</summary>
internal sealed unsafe class MemFd : FeatureProbe
{
    public override string Name => "memfd";
    public override string Purpose => "start restored processes from memory";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        fixed (byte* name = "probe\0"u8) using (ProbeFile.Of(Syscall.Invoke(SyscallNumber.memfd_create, (long)name, 1), "memfd_create")) return null;
    }
}

/// <summary>Files in huge pages.</summary>
internal sealed unsafe class MemfdHugetlb : FeatureProbe
{
    public override string Name => "memfd_hugetlb";
    public override string Purpose => "programs that use huge pages by memfd_create";

    protected override string? Probe(CheckOptions options)
    {
        const int MFD_CLOEXEC_HUGETLB = 5;
        fixed (byte* name = "probe\0"u8)
        {
            SysResult made = Syscall.Invoke(SyscallNumber.memfd_create, (long)name, MFD_CLOEXEC_HUGETLB);
            if (!made.Failed) Syscall.Invoke(SyscallNumber.close, made.Value);
            return Missing(made, "memfd_create(MFD_HUGETLB)");
        }
    }
}

/// <summary>Timers as files, with everything about them told and settable.</summary>
internal sealed unsafe class TimerFd : FeatureProbe
{
    public override string Name => "timerfd";
    public override string Purpose => "timerfd descriptors";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        const int CLOCK_MONOTONIC = 1, TFD_CLOEXEC = 0x80000;
        const long TFD_IOC_SET_TICKS = 0x40085400;
        using ProbeFile timer = ProbeFile.Of(Syscall.Invoke(SyscallNumber.timerfd_create, CLOCK_MONOTONIC, TFD_CLOEXEC), "timerfd_create");
        if (!ProbeFile.Read($"/proc/self/fdinfo/{timer.Value}").Contains("clockid:", StringComparison.Ordinal)) return "/proc/PID/fdinfo tells nothing of timers";
        long ticks = 1;
        return Missing(Syscall.Invoke(SyscallNumber.ioctl, timer.Value, TFD_IOC_SET_TICKS, (long)&ticks), "ioctl(TFD_IOC_SET_TICKS)");
    }
}

/// <summary>File locks told in /proc.</summary>
internal sealed unsafe class FdinfoLock : FeatureProbe
{
    public override string Name => "fdinfo_lock";
    public override string Purpose => "programs that hold file locks";

    protected override string? Probe(CheckOptions options)
    {
        const int LOCK_EX_NB = 6;
        fixed (byte* name = "probe\0"u8)
        {
            using ProbeFile file = ProbeFile.Of(Syscall.Invoke(SyscallNumber.memfd_create, (long)name, 1), "memfd_create");
            Syscall.Invoke(SyscallNumber.flock, file.Value, LOCK_EX_NB).OrThrow("flock", "probe");
            return ProbeFile.Read($"/proc/self/fdinfo/{file.Value}").Contains("lock:", StringComparison.Ordinal)
                ? null
                : "/proc/PID/fdinfo tells nothing of locks";
        }
    }
}

/// <summary>Paths resolved within bounds (Linux 5.6).</summary>
internal sealed unsafe class OpenAt2 : FeatureProbe
{
    public override string Name => "openat2";
    public override string Purpose => "open files without following links out of a directory";

    protected override string? Probe(CheckOptions options)
    {
        long* how = stackalloc long[3]; // struct open_how: flags, mode, resolve
        (how[0], how[1], how[2]) = (0x80000, 0, 0);
        fixed (byte* path = "/proc\0"u8)
        {
            SysResult opened = Syscall.Invoke(SyscallNumber.openat2, -100, (long)path, (long)how, 24);
            if (!opened.Failed) Syscall.Invoke(SyscallNumber.close, opened.Value);
            return Missing(opened, "openat2");
        }
    }
}
