using System.Globalization;

namespace CriuPmem.Engine.Check.Probes;

/// <summary>Some anonymous pages of a probe.</summary>
/// <param name="Address">Where they start.</param>
/// <param name="LengthBytes">How long they are.</param>
internal readonly unsafe record struct ProbePages(long Address, long LengthBytes) : IDisposable
{
    /// <summary>Maps pages, and writes to each when <paramref name="touched"/>.</summary>
    public static ProbePages Map(long lengthBytes, bool touched)
    {
        const int PROT_READ_WRITE = 3, MAP_PRIVATE_ANONYMOUS = 0x22;
        long address = Syscall.Invoke(SyscallNumber.mmap, 0, lengthBytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1).OrThrow("mmap", "probe");
        for (long at = 0; touched && at < lengthBytes; at += 4096) *(byte*)(address + at) = 1;
        return new ProbePages(address, lengthBytes);
    }

    /// <summary>madvise(2) for all of them.</summary>
    public SysResult Advise(int advice) => Syscall.Invoke(SyscallNumber.madvise, Address, LengthBytes, advice);

    /// <inheritdoc />
    public void Dispose() => Syscall.Invoke(SyscallNumber.munmap, Address, LengthBytes);
}

/// <summary>The vDSO, whose system call instruction remote calls are executed at.</summary>
internal sealed unsafe class VdsoSyscall : FeatureProbe
{
    public override string Name => "vdso_syscall";
    public override string Purpose => "execute calls in a process without changing its code";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        foreach (string line in ProbeFile.Read("/proc/self/maps").Split('\n'))
        {
            if (!line.EndsWith("[vdso]", StringComparison.Ordinal)) continue;
            long start = MapsLine.Start(line);
            var code = new ReadOnlySpan<byte>((void*)start, (int)(MapsLine.End(line) - start));
            return code.IndexOf("\x0F\x05"u8) >= 0 ? null : "the vDSO has no syscall instruction";
        }

        return "there is no vDSO (vdso=0 on the kernel's command line?)";
    }
}

/// <summary>Addresses in a line of /proc/PID/maps.</summary>
internal static class MapsLine
{
    public static long Start(string line) => Hex(line.AsSpan(0, line.IndexOf('-', StringComparison.Ordinal)));

    public static long End(string line)
    {
        int dash = line.IndexOf('-', StringComparison.Ordinal) + 1;
        return Hex(line.AsSpan(dash, line.IndexOf(' ', StringComparison.Ordinal) - dash));
    }

    private static long Hex(ReadOnlySpan<char> digits) => long.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
}

/// <summary>A vDSO at an address of one's choice.</summary>
internal sealed class CanMapVdso : FeatureProbe
{
    private const int ARCH_MAP_VDSO_64 = 0x2003;

    public override string Name => "can_map_vdso";
    public override string Purpose => "put the vDSO back where it was";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        // It has one already: EEXIST says that the call is there, and nothing is changed.
        SysResult mapped = Syscall.Invoke(SyscallNumber.arch_prctl, ARCH_MAP_VDSO_64, 0);
        return mapped.Errno == Errno.EEXIST ? null : Missing(mapped, "arch_prctl(ARCH_MAP_VDSO_64)");
    }
}

/// <summary>The bounds of code, data, stack and arguments, set in one call.</summary>
internal sealed unsafe class MmMap : FeatureProbe
{
    private const int PR_SET_MM = 35;
    private const int PR_SET_MM_MAP_SIZE = 15;

    public override string Name => "mm_map";
    public override string Purpose => "restore the program's name, arguments and bounds";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        uint size = 0;
        return Missing(Syscall.Invoke(SyscallNumber.prctl, PR_SET_MM, PR_SET_MM_MAP_SIZE, (long)&size), "prctl(PR_SET_MM_MAP_SIZE)");
    }
}

/// <summary>Memory of another process, read in bulk.</summary>
internal sealed unsafe class ProcessVm : FeatureProbe
{
    public override string Name => "process_vm";
    public override string Purpose => "read and write a process's memory";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        long from = 42, to = 0;
        long* iovecs = stackalloc long[4];
        (iovecs[0], iovecs[1], iovecs[2], iovecs[3]) = ((long)&to, 8, (long)&from, 8);
        int self = Syscall.Quick(SyscallNumber.getpid).Value;
        return Missing(Syscall.Invoke(SyscallNumber.process_vm_readv, self, (long)iovecs, 1, (long)(iovecs + 2), 1), "process_vm_readv");
    }
}

/// <summary>Memory of another process as a file, which reaches pages that the process itself may not read.</summary>
internal sealed unsafe class ProcMem : FeatureProbe
{
    public override string Name => "proc_mem";
    public override string Purpose => "read memory that is protected from its own process";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        using ProbePages pages = ProbePages.Map(4096, touched: true);
        Syscall.Invoke(SyscallNumber.mprotect, pages.Address, 4096, 0).OrThrow("mprotect", "probe");
        using ProbeFile memory = ProbeFile.Open("/proc/self/mem");
        byte one;
        return Missing(Syscall.Invoke(SyscallNumber.pread64, memory.Value, (long)&one, 1, pages.Address), "reading /proc/self/mem");
    }
}

/// <summary>Links from mappings to their files.</summary>
internal sealed unsafe class MapFiles : FeatureProbe
{
    public override string Name => "map_files";
    public override string Purpose => "open mapped files, deleted ones too";
    public override FeatureCategory Category => FeatureCategory.Needed;

    protected override string? Probe(CheckOptions options)
    {
        string? line = ProbeFile.Read("/proc/self/maps").Split('\n').FirstOrDefault(static line => line.Contains(" /", StringComparison.Ordinal));
        if (line is null) return "no mapped file was found to try it with";
        byte* target = stackalloc byte[256];
        fixed (byte* path = LinuxText.EncodeZ("/proc/self/map_files/" + line.Split(' ')[0]))
        {
            SysResult read = Syscall.Invoke(SyscallNumber.readlinkat, -100, (long)path, (long)target, 256);
            return read.Errno is Errno.EPERM or Errno.EACCES
                ? $"readlink of /proc/self/map_files failed: {read.Errno.Describe()}; it takes CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE of the machine itself, not of a container's user namespace. "
                    + "Programs that map files cannot be dumped without it, and those that share memory without a file not restored; others can"
                : Missing(read, "readlink of /proc/self/map_files");
        }
    }
}

/// <summary>Guard regions: pages that fault without a mapping of their own (Linux 6.13).</summary>
internal sealed class GuardPages : FeatureProbe
{
    private const int MADV_GUARD_INSTALL = 102;

    public override string Name => "guard";
    public override string Purpose => "programs whose C library makes stack guards with MADV_GUARD_INSTALL";

    protected override string? Probe(CheckOptions options)
    {
        using ProbePages pages = ProbePages.Map(4096, touched: false);
        return Missing(pages.Advise(MADV_GUARD_INSTALL), "madvise(MADV_GUARD_INSTALL)");
    }
}

/// <summary>The state of pages, told for whole ranges (Linux 6.7).</summary>
internal sealed class PagemapScan : FeatureProbe
{
    public override string Name => "pagemap_scan";
    public override string Purpose => "find pages with contents fast";

    protected override string? Probe(CheckOptions options) => Missing(Scan(1 << 3), "ioctl(PAGEMAP_SCAN)");

    /// <summary>Scans one page for one category (PAGE_IS_*).</summary>
    internal static unsafe SysResult Scan(ulong category)
    {
        const long PAGEMAP_SCAN = 0xC0606610;
        using ProbeFile pagemap = ProbeFile.Open("/proc/self/pagemap");
        using ProbePages pages = ProbePages.Map(4096, touched: true);
        ulong* region = stackalloc ulong[3];
        ulong* argument = stackalloc ulong[12]; // struct pm_scan_arg
        new Span<ulong>(argument, 12).Clear();
        (argument[0], argument[2], argument[3]) = (96, (ulong)pages.Address, (ulong)pages.Address + 4096);
        (argument[5], argument[6], argument[9], argument[11]) = ((ulong)region, 1, category, category);
        return Syscall.Invoke(SyscallNumber.ioctl, pagemap.Value, PAGEMAP_SCAN, (long)argument);
    }
}

/// <summary>Guard regions in PAGEMAP_SCAN (Linux 6.15).</summary>
internal sealed class PagemapScanGuardPages : FeatureProbe
{
    public override string Name => "pagemap_scan_guard_pages";
    public override string Purpose => "find guard regions fast";

    protected override string? Probe(CheckOptions options) => Missing(PagemapScan.Scan(1 << 8), "ioctl(PAGEMAP_SCAN) for guard regions");
}

/// <summary>Huge pages made at once (Linux 6.1).</summary>
internal sealed class MadvCollapse : FeatureProbe
{
    private const int MADV_COLLAPSE = 25;

    public override string Name => "madv_collapse";
    public override string Purpose => "restore memory faster, into huge pages";

    protected override string? Probe(CheckOptions options)
    {
        const long huge = 2 << 20;
        using ProbePages pages = ProbePages.Map(2 * huge, touched: true);
        long aligned = (pages.Address + huge - 1) & -huge;
        SysResult collapsed = Syscall.Invoke(SyscallNumber.madvise, aligned, huge, MADV_COLLAPSE);
        // Without a free huge page the call is there all the same.
        return collapsed.Errno is Errno.ENOMEM or Errno.EAGAIN or Errno.EBUSY ? null : Missing(collapsed, "madvise(MADV_COLLAPSE)");
    }
}

/// <summary>Which pages were written: asynchronous write protection, else soft-dirty bits.</summary>
internal sealed unsafe class SoftDirty : FeatureProbe
{
    private const int O_WRONLY = 1;

    public override string Name => "mem_dirty_track";
    public override string Purpose => "see which memory was written since an earlier dump";
    public override FeatureCategory Category => FeatureCategory.Experimental;

    protected override string? Probe(CheckOptions options)
    {
        // The newer way does the same, and is preferred where a kernel has both.
        if (new UffdWpAsync().Run(options).IsSupported) return null;
        using ProbePages pages = ProbePages.Map(4096, touched: true);
        using (ProbeFile clear = ProbeFile.Open("/proc/self/clear_refs", O_WRONLY))
        {
            fixed (byte* four = "4"u8) Syscall.Invoke(SyscallNumber.write, clear.Value, (long)four, 1).OrThrow("write", "/proc/self/clear_refs");
        }

        if (IsDirty(pages)) return "soft-dirty bits are not cleared: the kernel is built without them";
        *(byte*)pages.Address = 2;
        return IsDirty(pages) ? null : "soft-dirty bits are not set by writes: the kernel is built without them";
    }

    private static bool IsDirty(ProbePages pages)
    {
        using ProbeFile pagemap = ProbeFile.Open("/proc/self/pagemap");
        ulong entry;
        Syscall.Invoke(SyscallNumber.pread64, pagemap.Value, (long)&entry, 8, pages.Address / 4096 * 8).OrThrow("read", "/proc/self/pagemap");
        return (entry >> 55 & 1) != 0;
    }
}

/// <summary>Page faults served by user space.</summary>
internal class Uffd : FeatureProbe
{
    public override string Name => "uffd";
    public override string Purpose => "restore memory on demand";
    public override FeatureCategory Category => FeatureCategory.Experimental;

    protected override string? Probe(CheckOptions options) => Features(0);

    /// <summary>Null when all these features are there (ioctl_userfaultfd(2)).</summary>
    protected static unsafe string? Features(ulong wanted)
    {
        const long UFFDIO_API = 0xC018AA3F;
        using ProbeFile faults = ProbeFile.Of(Syscall.Invoke(SyscallNumber.userfaultfd, 0x80000), "userfaultfd");
        ulong* api = stackalloc ulong[3];
        (api[0], api[1], api[2]) = (0xAA, wanted, 0);
        return Missing(Syscall.Invoke(SyscallNumber.ioctl, faults.Value, UFFDIO_API, (long)api), "ioctl(UFFDIO_API)");
    }
}

/// <summary>Page faults of a program that goes on to fork, move and unmap its memory.</summary>
internal sealed class UffdNonCoop : Uffd
{
    public override string Name => "uffd-noncoop";
    public override string Purpose => "restore memory on demand for programs that fork or move memory";

    // UFFD_FEATURE_EVENT_FORK, _REMAP, _REMOVE, _UNMAP
    protected override string? Probe(CheckOptions options) => Features(1 << 1 | 1 << 2 | 1 << 3 | 1 << 6);
}

/// <summary>Write tracking without stops (Linux 6.7).</summary>
internal sealed class UffdWpAsync : Uffd
{
    public override string Name => "userfaultfd_wp_async";
    public override string Purpose => "copy memory while the program runs";

    // UFFD_FEATURE_WP_UNPOPULATED, _WP_ASYNC
    protected override string? Probe(CheckOptions options) => Features(1 << 13 | 1 << 15);
}

/// <summary>Asynchronous I/O rings that can be moved to their old address.</summary>
internal sealed unsafe class AioRemap : FeatureProbe
{
    public override string Name => "aio_remap";
    public override string Purpose => "programs that use kernel AIO (io_setup)";

    protected override string? Probe(CheckOptions options)
    {
        long context = 0;
        SysResult made = Syscall.Invoke(SyscallNumber.io_setup, 1, (long)&context);
        if (made.Failed) return Missing(made, "io_setup");
        try
        {
            long found = context;
            string line = ProbeFile.Read("/proc/self/maps").Split('\n').First(line => line.Length > 0 && MapsLine.Start(line) == found);
            long length = MapsLine.End(line) - context;
            const int MREMAP_MAYMOVE_FIXED = 3;
            long place = ProbePages.Map(length, touched: false).Address;
            SysResult moved = Syscall.Invoke(SyscallNumber.mremap, context, length, length, MREMAP_MAYMOVE_FIXED, place);
            if (moved.Failed) return Missing(moved, "mremap of an AIO ring");
            context = place;
            return Missing(Syscall.Invoke(SyscallNumber.io_getevents, context, 0, 1, 0, 0), "io_getevents of a moved ring");
        }
        finally
        {
            Syscall.Invoke(SyscallNumber.io_destroy, context);
        }
    }
}

/// <summary>Images that are mapped straight from persistent memory.</summary>
internal sealed class Dax : FeatureProbe
{
    public override string Name => "dax";
    public override string Purpose => "images mapped straight from persistent memory, in the directory given by -D";
    public override FeatureCategory Category => FeatureCategory.Experimental;

    protected override string? Probe(CheckOptions options) => options.ImagesDirectoryFd < 0
        ? "name the directory to look at with -D"
        : PersistentMemory.Of(options.ImagesDirectoryFd) switch
        {
            PersistentMemoryKind.Dax => null,
            PersistentMemoryKind.Tmpfs => "the directory lies on a tmpfs, which stands in for persistent memory but does not survive power loss",
            _ => "the directory does not lie on a DAX file system (mount it with -o dax)",
        };
}
