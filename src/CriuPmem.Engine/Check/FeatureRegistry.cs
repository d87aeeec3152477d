using CriuPmem.Engine.Check.Probes;

namespace CriuPmem.Engine.Check;

/// <summary>The kernel features that are known, the needed ones first.</summary>
internal static class FeatureRegistry
{
    /// <summary>All of them.</summary>
    public static IReadOnlyList<FeatureProbe> All { get; } =
    [
        new PtraceSeize(), new XState(), new VdsoSyscall(), new CanMapVdso(), new MmMap(), new CloneSetTid(), new ProcessVm(), new ProcMem(),
        new MapFiles(), new Kcmp(), new PidfdGetfd(), new MntId(), new NsPid(), new SockDiag(), new TimerFd(), new MemFd(),
        new SeccompSuspend(), new SeccompFilters(), new RseqConf(), new KcmpEpoll(), new AioRemap(), new FdinfoLock(), new LoginUid(),
        new UserNs(), new TimeNs(), new SkNs(), new SkUnixFile(), new NetDiagRaw(), new SockoptBufLock(), new Ipv6Freebind(),
        new MemfdHugetlb(), new OpenAt2(), new TimerCrIds(), new GuardPages(), new PagemapScan(), new PagemapScanGuardPages(), new MadvCollapse(),
        new SoftDirty(), new Uffd(), new UffdNonCoop(), new UffdWpAsync(), new Dax(),
    ];
}
