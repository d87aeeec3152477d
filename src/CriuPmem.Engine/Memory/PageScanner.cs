using System.Runtime.InteropServices;

namespace CriuPmem.Engine.Memory;

/// <summary>Finds the pages of a process that must be saved: PAGEMAP_SCAN (Documentation/admin-guide/mm/pagemap.rst, since Linux 6.7).</summary>
internal sealed unsafe class PageScanner : IDisposable
{
    private const uint PAGEMAP_SCAN = 0xC0606610;
    private const ulong PM_SCAN_WP_MATCHING = 1, PM_SCAN_CHECK_WPASYNC = 2;
    private const int RegionsPerCall = 4096;

    private static bool s_knowsGuards = true;

    private readonly Region* _regions = (Region*)NativeMemory.Alloc(RegionsPerCall, (nuint)sizeof(Region));

    /// <summary>Page categories (PAGE_IS_…).</summary>
    [Flags]
    public enum Category : ulong
    {
        None = 0, WpAllowed = 1, Written = 2, File = 4, Present = 8, Swapped = 16, PfnZero = 32, Huge = 64, SoftDirty = 128, Guard = 256,
    }

    /// <summary>Pages found so far.</summary>
    public long ScannedPages { get; private set; }

    /// <summary>Calls <paramref name="visit"/> for each run of pages between two addresses that are the process's own.</summary>
    /// <param name="pagemap">/proc/PID/pagemap, open.</param>
    /// <param name="start">First address.</param>
    /// <param name="end">Address after the last.</param>
    /// <param name="visit">
    /// Gets start and end of a run of anonymous pages in memory or swap that are not the zero page, and whether it is a
    /// guard region (MADV_GUARD_INSTALL) instead.
    /// </param>
    public void OwnPages(int pagemap, ulong start, ulong end, Action<ulong, ulong, bool> visit)
    {
        Category guard = s_knowsGuards ? Category.Guard : Category.None;
        SysResult scanned = Scan(pagemap, start, end, flags: 0, any: Category.Present | Category.Swapped | guard, told: guard, visit);
        if (scanned.Errno == Errno.EINVAL && s_knowsGuards)
        {
            s_knowsGuards = false; // a kernel before 6.15 has no such category
            OwnPages(pagemap, start, end, visit);
            return;
        }

        scanned.OrThrow("ioctl(PAGEMAP_SCAN)", "pagemap");
    }

    /// <summary>Calls <paramref name="visit"/> for each run of the process's own pages in memory that is tracked (<see cref="WriteTracker"/>).</summary>
    /// <param name="pagemap">/proc/PID/pagemap, open.</param>
    /// <param name="start">First address.</param>
    /// <param name="end">Address after the last.</param>
    /// <param name="protect">Begin a new round: what is written after this is written.</param>
    /// <param name="running">The process runs: mappings that are not tracked any more are passed over.</param>
    /// <param name="visit">Gets start and end of a run, and whether it was written since the last round began.</param>
    public void TrackedPages(int pagemap, ulong start, ulong end, bool protect, bool running, Action<ulong, ulong, bool> visit) =>
        Scan(pagemap, start, end, !protect ? 0 : running ? PM_SCAN_WP_MATCHING : PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC, any: Category.Present | Category.Swapped, told: Category.Written, visit)
            .OrThrow("ioctl(PAGEMAP_SCAN)", "pagemap");

    /// <summary>Calls <paramref name="visit"/> for each guard region (MADV_GUARD_INSTALL).</summary>
    public void Guards(int pagemap, ulong start, ulong end, Action<ulong, ulong, bool> visit)
    {
        if (s_knowsGuards) Scan(pagemap, start, end, 0, any: Category.Guard, told: Category.Guard, visit);
    }

    /// <inheritdoc />
    public void Dispose() => NativeMemory.Free(_regions);

    private SysResult Scan(int pagemap, ulong start, ulong end, ulong flags, Category any, Category told, Action<ulong, ulong, bool> visit)
    {
        var request = new Request
        {
            SizeBytes = (ulong)sizeof(Request),
            Flags = flags,
            Start = start,
            End = end,
            Vector = (ulong)_regions,
            VectorLength = RegionsPerCall,
            Inverted = (ulong)(Category.File | Category.PfnZero),
            All = (ulong)(Category.File | Category.PfnZero),
            Any = (ulong)any,
            Told = (ulong)told,
        };
        while (request.Start < end)
        {
            SysResult found = Syscall.Invoke(SyscallNumber.ioctl, pagemap, PAGEMAP_SCAN, (long)&request);
            if (found.Errno == Errno.ENOTTY)
            {
                throw new CheckpointException(ErrorCode.KernelFeature, "this kernel lacks PAGEMAP_SCAN") { Remedy = "Use Linux 6.7 or newer" };
            }

            if (found.Failed) return found;
            for (int i = 0; i < found.Value; i++)
            {
                ScannedPages += (long)((_regions[i].End - _regions[i].Start) / PageSize);
                visit(_regions[i].Start, _regions[i].End, ((Category)_regions[i].Categories & told) != 0);
            }

            // walk_end is stale when more than 512 regions are found in one call (6.18): the last region tells instead.
            if (found.Value < RegionsPerCall) break;
            request.Start = _regions[found.Value - 1].End;
        }

        return default;
    }

    /// <summary>struct page_region.</summary>
#pragma warning disable CS0649 // filled in or left zero for the kernel
    private struct Region
    {
        public ulong Start, End, Categories;
    }
#pragma warning restore CS0649

    /// <summary>struct pm_scan_arg.</summary>
    private struct Request
    {
        public ulong SizeBytes, Flags, Start, End, WalkEnd, Vector, VectorLength, MaxPages, Inverted, All, Any, Told;
    }
}
