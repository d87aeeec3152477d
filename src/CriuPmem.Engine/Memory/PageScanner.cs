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

    /// <summary>The process runs, and has nothing to be found any more when it has ended.</summary>
    public bool MayEnd { get; set; }

    /// <summary>Page categories (PAGE_IS_…).</summary>
    [Flags]
    public enum Category : ulong
    {
        None = 0, WpAllowed = 1, Written = 2, File = 4, Present = 8, Swapped = 16, PfnZero = 32, Huge = 64, SoftDirty = 128, Guard = 256,
    }

    /// <summary>Calls <paramref name="visit"/> for each run of pages between two addresses that are the process's own.</summary>
    /// <param name="pagemap">/proc/PID/pagemap, open.</param>
    /// <param name="start">First address.</param>
    /// <param name="end">Address after the last.</param>
    /// <param name="ofFile">Pages may be a file's: looking for that costs as much as all the rest.</param>
    /// <param name="visit">
    /// Gets start and end of a run of anonymous pages in memory or swap that are not the zero page, and whether it is a
    /// guard region (MADV_GUARD_INSTALL) instead.
    /// </param>
    public void OwnPages(int pagemap, ulong start, ulong end, bool ofFile, Action<ulong, ulong, bool> visit)
    {
        Request request = Query(start, end, told: Category.Guard);
        request.Inverted = request.All = (ulong)Foreign(ofFile);
        request.Any = (ulong)(Category.Present | Category.Swapped | Category.Guard);
        Scan(pagemap, request, (from, to, told) => visit(from, to, (told & Category.Guard) != 0));
    }

    /// <summary>Calls <paramref name="visit"/> for each run of the process's own pages in memory that is tracked (<see cref="WriteTracker"/>).</summary>
    /// <param name="pagemap">/proc/PID/pagemap, open.</param>
    /// <param name="start">First address.</param>
    /// <param name="end">Address after the last.</param>
    /// <param name="ofFile">Pages may be a file's.</param>
    /// <param name="protect">Begin a new round: what is written after this is written.</param>
    /// <param name="running">The process runs: mappings that are not tracked any more are passed over.</param>
    /// <param name="visit">Gets start and end of a run, and whether it was written since the last round began.</param>
    public void TrackedPages(int pagemap, ulong start, ulong end, bool ofFile, bool protect, bool running, Action<ulong, ulong, bool> visit)
    {
        Request request = Query(start, end, told: Category.Written | Category.Guard);
        request.Flags = !protect ? 0 : running ? PM_SCAN_WP_MATCHING : PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC;
        request.Inverted = request.All = (ulong)Foreign(ofFile);
        request.Any = (ulong)(Category.Present | Category.Swapped);
        Scan(pagemap, request, (from, to, told) =>
        {
            if ((told & Category.Guard) == 0) visit(from, to, (told & Category.Written) != 0);
        });
    }

    /// <summary>Begins a new round in memory that is tracked; calls <paramref name="visit"/> for what is there, or only for what was written since the last one.</summary>
    /// <param name="pagemap">/proc/PID/pagemap, open; the process may run.</param>
    /// <param name="start">First address.</param>
    /// <param name="end">Address after the last.</param>
    /// <param name="ofFile">Pages may be a file's: looking for that costs as much as all the rest.</param>
    /// <param name="all">All pages, not only written ones.</param>
    /// <param name="visit">Gets start and end of a run, and whether its pages are the process's own.</param>
    public void Protect(int pagemap, ulong start, ulong end, bool ofFile, bool all, Action<ulong, ulong, bool> visit)
    {
        Category foreign = Foreign(ofFile) | Category.Guard;
        Request request = Query(start, end, told: foreign);
        request.Flags = PM_SCAN_WP_MATCHING;
        request.All = all ? 0 : (ulong)Category.Written;
        request.Any = (ulong)(Category.Present | Category.Swapped);
        Scan(pagemap, request, (from, to, told) => visit(from, to, (told & foreign) == 0));
    }

    /// <summary>Calls <paramref name="visit"/> for what became different in tracked memory since the last round began: written, gone, or a guard region now.</summary>
    /// <remarks>
    /// What is not in memory is told too, as often as it is asked for: a page that is gone is not "written" where its whole page
    /// table is gone. With few categories of interest the kernel looks at a page in 3 ns.
    /// </remarks>
    /// <param name="pagemap">/proc/PID/pagemap, open.</param>
    /// <param name="start">First address.</param>
    /// <param name="end">Address after the last.</param>
    /// <param name="ofFile">Pages may be a file's.</param>
    /// <param name="visit">Gets start and end of a run, whether its pages are the process's own, and whether they are a guard region.</param>
    public void Changes(int pagemap, ulong start, ulong end, bool ofFile, Action<ulong, ulong, bool, bool> visit)
    {
        const Category here = Category.Present | Category.Swapped;
        Category foreign = Foreign(ofFile);
        Request request = Query(start, end, told: Category.Written | Category.Guard | here | foreign);
        request.Inverted = (ulong)Category.Present;
        request.Any = (ulong)(Category.Written | Category.Present); // written, or not present
        Scan(pagemap, request, (from, to, told) =>
        {
            bool guard = (told & Category.Guard) != 0;
            if (!guard && (told & (Category.Written | Category.Swapped)) == Category.Swapped) return; // swapped out as it was
            visit(from, to, !guard && (told & here) != 0 && (told & foreign) == 0, guard);
        });
    }

    /// <summary>How much of an address space lies in huge pages, in bytes.</summary>
    public ulong HugeBytes(int pagemap)
    {
        ulong bytes = 0;
        Request request = Query(0, TaskSize, told: Category.Huge);
        request.All = (ulong)Category.Huge;
        Scan(pagemap, request, (from, to, _) => bytes += to - from);
        return bytes;
    }

    /// <summary>Calls <paramref name="visit"/> for each guard region (MADV_GUARD_INSTALL).</summary>
    public void Guards(int pagemap, ulong start, ulong end, Action<ulong, ulong, bool> visit)
    {
        if (!s_knowsGuards) return;
        Request request = Query(start, end, told: Category.Guard);
        request.All = (ulong)Category.Guard;
        Scan(pagemap, request, (from, to, _) => visit(from, to, true));
    }

    /// <inheritdoc />
    public void Dispose() => NativeMemory.Free(_regions);

    /// <summary>Pages that are not the process's own.</summary>
    private static Category Foreign(bool ofFile) => ofFile ? Category.PfnZero | Category.File : Category.PfnZero;

    private static Request Query(ulong start, ulong end, Category told) => new()
    {
        SizeBytes = (ulong)sizeof(Request),
        Start = start,
        End = end,
        Told = (ulong)told,
    };

    private void Scan(int pagemap, Request request, Action<ulong, ulong, Category> visit)
    {
        if (!s_knowsGuards) Forget(ref request);
        request.Vector = (ulong)_regions;
        request.VectorLength = RegionsPerCall;
        while (request.Start < request.End)
        {
            SysResult found = Syscall.Invoke(SyscallNumber.ioctl, pagemap, PAGEMAP_SCAN, (long)&request);
            if (found.Errno == Errno.ENOTTY)
            {
                throw new CheckpointException(ErrorCode.KernelFeature, "this kernel lacks PAGEMAP_SCAN") { Remedy = "Use Linux 6.7 or newer" };
            }

            if (found.Errno == Errno.EINVAL && s_knowsGuards)
            {
                s_knowsGuards = false; // a kernel before 6.15 has no such category
                if (Forget(ref request)) continue;
                return;
            }

            if (found.Errno == Errno.ESRCH && MayEnd) return;
            found.OrThrow("ioctl(PAGEMAP_SCAN)", "pagemap");
            for (int i = 0; i < found.Value; i++)
            {
                visit(_regions[i].Start, _regions[i].End, (Category)_regions[i].Categories);
            }

            // walk_end is stale when more than 512 regions are found in one call (6.18): the last region tells instead.
            if (found.Value < RegionsPerCall) break;
            request.Start = _regions[found.Value - 1].End;
        }
    }

    /// <summary>Asks for no guard regions; false when nothing else was asked for.</summary>
    private static bool Forget(ref Request request)
    {
        bool nothingElse = request.All == (ulong)Category.Guard;
        request.Told &= ~(ulong)Category.Guard;
        request.Any &= ~(ulong)Category.Guard;
        return !nothingElse;
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
