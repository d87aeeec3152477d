using CriuPmem.Engine.Dump;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Memory;

/// <summary>Finds which pages of a process are saved, and which an earlier snapshot has already.</summary>
/// <remarks>
/// A process's own are anonymous pages, private copies of file pages, and pages in swap; not pages never touched, the zero
/// page, and pages that their file still has. With a tracker, what was not written since the last round, and is in the
/// snapshot of that round, is left to it.
/// </remarks>
internal sealed class PagePlanner : IDisposable
{
    private readonly PageScanner _scanner = new();

    /// <summary>Pages looked at.</summary>
    public long ScannedPages => _scanner.ScannedPages;

    /// <summary>Plans; the process's mappings are known (<see cref="AddressSpaceDump"/>).</summary>
    /// <param name="process">The process.</param>
    /// <param name="earlier">The pages in the snapshot of the last round; null when there is none.</param>
    /// <param name="protect">Begin a new round (see <see cref="PageScanner.TrackedPages"/>).</param>
    /// <param name="running">The process runs; the plan of one that has ended is empty.</param>
    public PagePlan Plan(DumpProcess process, SavedPages? earlier, bool protect, bool running)
    {
        var found = new List<(ulong Start, ulong End, bool Written)>();
        var guards = new List<VmaEntry>();
        SysResult opened = Sys.OpenAt(process.Proc.Fd, "pagemap", O_RDONLY);
        if (opened.Failed && running) return new PagePlan(guards); // it has ended
        using var pagemap = new OwnedFd((int)opened.OrThrow("open", $"pagemap of {process}"));
        if (process.Tracker is not { } tracker) ScanAll(pagemap.Fd, found, guards);
        else ScanTracked(pagemap.Fd, tracker, protect, running, found, guards);
        var plan = new PagePlan(guards);
        var sharing = process.Mappings.Where(mapping => mapping.MayShareCopies).Select(mapping => mapping.Start).ToHashSet();
        int next = 0;
        // One scan of the whole address space; what it finds is then cut at the borders of the mappings.
        foreach ((ulong start, ulong end, bool written) in found)
        {
            while (next < process.Memory.Vmas.Count && process.Memory.Vmas[next].End <= start) next++;
            for (int i = next; i < process.Memory.Vmas.Count && process.Memory.Vmas[i].Start < end; i++)
            {
                VmaEntry vma = process.Memory.Vmas[i];
                uint flags = Wanted(vma);
                if (flags == 0) continue;
                bool carefully = (vma.Prot & PROT_READ) == 0 || sharing.Contains(vma.Start);
                plan.Add(new PageRun(Math.Max(start, vma.Start), Math.Min(end, vma.End), flags, carefully), written ? null : earlier);
            }
        }

        // The vDSO's pages are the kernel's, but another kernel's restore needs to see this one's code.
        foreach (VmaEntry vma in process.Memory.Vmas)
        {
            if (((VmaStatus)vma.Status & VmaStatus.Vdso) != 0) plan.Add(new PageRun(vma.Start, vma.End, (uint)PageFlags.Present, false), null);
        }

        plan.Sort();
        return plan;
    }

    /// <inheritdoc />
    public void Dispose() => _scanner.Dispose();

    private void ScanAll(int pagemap, List<(ulong, ulong, bool)> found, List<VmaEntry> guards) =>
        _scanner.OwnPages(pagemap, 0, TaskSize, (start, end, isGuard) =>
        {
            if (isGuard) guards.Add(Guard(start, end));
            else found.Add((start, end, true));
        });

    private void ScanTracked(int pagemap, WriteTracker tracker, bool protect, bool running, List<(ulong, ulong, bool)> found, List<VmaEntry> guards)
    {
        _scanner.Guards(pagemap, 0, TaskSize, (start, end, _) => guards.Add(Guard(start, end)));
        ulong at = 0;
        foreach ((ulong start, ulong end, bool isNew) in Merged(tracker.Ranges))
        {
            Untracked(at, start);
            _scanner.TrackedPages(pagemap, start, end, protect, running, (from, to, written) => found.Add((from, to, written || isNew)));
            at = end;
        }

        Untracked(at, TaskSize);

        void Untracked(ulong start, ulong end)
        {
            if (start < end) _scanner.OwnPages(pagemap, start, end, (from, to, isGuard) => { if (!isGuard) found.Add((from, to, true)); });
        }
    }

    private static IEnumerable<(ulong Start, ulong End, bool IsNew)> Merged(IReadOnlyList<(ulong Start, ulong End, bool IsNew)> ranges)
    {
        for (int i = 0; i < ranges.Count;)
        {
            (ulong start, ulong end, bool isNew) = ranges[i++];
            while (i < ranges.Count && ranges[i].Start == end && ranges[i].IsNew == isNew) end = ranges[i++].End;
            yield return (start, end, isNew);
        }
    }

    private static VmaEntry Guard(ulong start, ulong end) =>
        new() { Start = start, End = end, Pgoff = 0, Shmid = 0, Prot = 0, Flags = 0, Status = (uint)VmaStatus.Guard, Fd = -1 };

    /// <summary>The page map flags with which a mapping's own pages are saved; 0 when they are not.</summary>
    private static uint Wanted(VmaEntry vma)
    {
        var status = (VmaStatus)vma.Status;
        if ((status & (VmaStatus.Vsyscall | VmaStatus.Vvar | VmaStatus.Vdso)) != 0) return 0;
        if ((status & VmaStatus.FilePrivate) != 0) return (uint)PageFlags.Present;
        if ((status & VmaStatus.AnonPrivate) == 0) return 0;
        // Locked memory is populated by mlock and must not be left to a later fault; what a child gets wiped, nor: a pager
        // cannot tell it from what a child has to have.
        return (uint)((vma.Flags & MAP_LOCKED) != 0 || (vma.Madv & 1UL << MADV_WIPEONFORK) != 0 ? PageFlags.Present : PageFlags.Present | PageFlags.Lazy);
    }
}
