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
    public long ScannedPages { get; private set; }

    /// <summary>Plans; the process's mappings are known (<see cref="AddressSpaceDump"/>).</summary>
    /// <param name="process">The process.</param>
    /// <param name="earlier">The pages in the snapshot of the last round; null when there is none.</param>
    /// <param name="protect">Begin a new round (see <see cref="PageScanner.TrackedPages"/>).</param>
    /// <param name="running">The process runs; the plan of one that has ended is empty.</param>
    public PagePlan Plan(DumpProcess process, SavedPages? earlier, bool protect, bool running)
    {
        var guards = new List<VmaEntry>();
        var plan = new PagePlan(guards);
        using OwnedFd? pagemap = OpenPagemap(process, running);
        if (pagemap is null) return plan;
        var cutter = new RunCutter(process);
        _scanner.MayEnd = running;
        foreach (ScanSpan span in ScanSpan.Of(process, acrossGaps: !protect && !running))
        {
            if (!span.Saved) _scanner.Guards(pagemap.Fd, span.Start, span.End, (start, end, _) => guards.Add(Guard(start, end)));
            else if (!span.Tracked) _scanner.OwnPages(pagemap.Fd, span.Start, span.End, span.OfFile, (start, end, guard) => Found(start, end, guard, true));
            else
            {
                _scanner.Guards(pagemap.Fd, span.Start, span.End, (start, end, _) => guards.Add(Guard(start, end)));
                _scanner.TrackedPages(pagemap.Fd, span.Start, span.End, span.OfFile, protect, running, (start, end, written) => Found(start, end, false, written || span.IsNew));
            }
        }

        foreach (PageRun code in VdsoCode(process)) plan.Add(code, null);
        plan.Sort();
        return plan;

        void Found(ulong start, ulong end, bool guard, bool written)
        {
            if (guard) guards.Add(Guard(start, end));
            else cutter.Cut(start, end, run => plan.Add(run, written ? null : earlier));
            if (!guard) Count(start, end);
        }
    }

    /// <summary>Finds what became different since the last round; the process's mappings are known, and what of them is tracked.</summary>
    /// <param name="process">The process; when it runs and has ended nothing is found.</param>
    /// <param name="round">Which round; all but the last begin a new one.</param>
    public PageChanges Changes(DumpProcess process, CopyRound round)
    {
        using OwnedFd? pagemap = OpenPagemap(process, running: round != CopyRound.Last);
        if (pagemap is null) return new PageChanges();
        _scanner.MayEnd = round != CopyRound.Last;
        List<ScanSpan> spans = [.. ScanSpan.Of(process, acrossGaps: round == CopyRound.Last)];
        List<ScanSpan> others = round == CopyRound.Last ? ScanSpan.TakeHalf(spans) : [];
        PageChanges changes = others.Count == 0
            ? FindChanges(_scanner, process, pagemap.Fd, spans, round) : FindInTwoThreads(process, pagemap.Fd, spans, others, round);
        ScannedPages += changes.Stored.Sum(run => (long)(run.LengthBytes / PageSize));
        if (round == CopyRound.Last) changes.Stored.AddRange(VdsoCode(process));
        changes.Stored.Sort((a, b) => a.Start.CompareTo(b.Start));
        return changes;
    }

    private PageChanges FindInTwoThreads(DumpProcess process, int pagemap, List<ScanSpan> spans, List<ScanSpan> others, CopyRound round)
    {
        PageChanges? found = null;
        CheckpointException? failure = null;
        var helper = new Thread(
            () =>
            {
                try
                {
                    using var scanner = new PageScanner();
                    found = FindChanges(scanner, process, pagemap, others, round);
                }
                catch (CheckpointException failed)
                {
                    failure = failed;
                }
            },
            256 * 1024)
        { IsBackground = true, Name = "page scanner" };
        helper.Begin();
        PageChanges changes;
        try
        {
            changes = FindChanges(_scanner, process, pagemap, spans, round);
        }
        finally
        {
            helper.Join();
        }

        if (failure is not null) throw failure;
        changes.Append(found!);
        return changes;
    }

    private static PageChanges FindChanges(PageScanner scanner, DumpProcess process, int pagemap, List<ScanSpan> spans, CopyRound round)
    {
        var changes = new PageChanges();
        var cutter = new RunCutter(process);
        foreach (ScanSpan span in spans)
        {
            bool whole = !span.Tracked || span.IsNew || round == CopyRound.First;
            if (whole && span.Saved) changes.Replace(span.Start, span.End);
            if (!span.Saved) GuardsOnly(span);
            else if (!span.Tracked) scanner.OwnPages(pagemap, span.Start, span.End, span.OfFile, (start, end, guard) => Found(start, end, !guard, guard, replace: false));
            else if (round == CopyRound.Last) scanner.Changes(pagemap, span.Start, span.End, span.OfFile, (start, end, own, guard) => Found(start, end, own, guard, replace: true));
            else scanner.Protect(pagemap, span.Start, span.End, span.OfFile, whole, (start, end, own) => Found(start, end, own, false, replace: !whole));
        }

        return changes;

        void GuardsOnly(ScanSpan span)
        {
            if (round == CopyRound.Last) scanner.Guards(pagemap, span.Start, span.End, (start, end, _) => changes.Guards.Add(Guard(start, end)));
        }

        void Found(ulong start, ulong end, bool own, bool guard, bool replace)
        {
            if (replace) changes.Replace(start, end);
            if (guard) changes.Guards.Add(Guard(start, end));
            if (own) cutter.Cut(start, end, changes.Stored.Add);
        }
    }

    /// <inheritdoc />
    public void Dispose() => _scanner.Dispose();

    /// <summary>The page map flags with which a mapping's own pages are saved; 0 when they are not.</summary>
    public static uint Wanted(VmaEntry vma)
    {
        var status = (VmaStatus)vma.Status;
        if ((status & (VmaStatus.Vsyscall | VmaStatus.Vvar | VmaStatus.Vdso)) != 0) return 0;
        if ((status & VmaStatus.FilePrivate) != 0) return (uint)PageFlags.Present;
        if ((status & VmaStatus.AnonPrivate) == 0) return 0;
        // Locked memory is populated by mlock and must not be left to a later fault; what a child gets wiped, nor: a pager
        // cannot tell it from what a child has to have.
        return (uint)((vma.Flags & MAP_LOCKED) != 0 || (vma.Madv & 1UL << MADV_WIPEONFORK) != 0 ? PageFlags.Present : PageFlags.Present | PageFlags.Lazy);
    }

    /// <summary>The page map flags of whatever is saved of a mapping; 0 when nothing is.</summary>
    public static PageFlags FlagsOf(VmaEntry vma) => ((VmaStatus)vma.Status & VmaStatus.Vdso) != 0 ? PageFlags.Present : (PageFlags)Wanted(vma);

    /// <summary>The vDSO's pages are the kernel's, but another kernel's restore needs to see this one's code.</summary>
    private static IEnumerable<PageRun> VdsoCode(DumpProcess process) => process.Memory.Vmas
        .Where(vma => ((VmaStatus)vma.Status & VmaStatus.Vdso) != 0).Select(vma => new PageRun(vma.Start, vma.End, (uint)PageFlags.Present, false));

    private static OwnedFd? OpenPagemap(DumpProcess process, bool running)
    {
        SysResult opened = Sys.OpenAt(process.Proc.Fd, "pagemap", O_RDONLY);
        if (opened.Failed && running) return null; // it has ended
        return new OwnedFd((int)opened.OrThrow("open", $"pagemap of {process}"));
    }

    private void Count(ulong start, ulong end) => ScannedPages += (long)((end - start) / PageSize);

    private static VmaEntry Guard(ulong start, ulong end) =>
        new() { Start = start, End = end, Pgoff = 0, Shmid = 0, Prot = 0, Flags = 0, Status = (uint)VmaStatus.Guard, Fd = -1 };

    /// <summary>Cuts what is found, in ascending order, at the borders of the mappings.</summary>
    private sealed class RunCutter(DumpProcess process)
    {
        private readonly HashSet<ulong> _sharing = process.Mappings.Where(mapping => mapping.MayShareCopies).Select(mapping => mapping.Start).ToHashSet();
        private int _next;

        public void Cut(ulong start, ulong end, Action<PageRun> add)
        {
            while (_next < process.Memory.Vmas.Count && process.Memory.Vmas[_next].End <= start) _next++;
            for (int i = _next; i < process.Memory.Vmas.Count && process.Memory.Vmas[i].Start < end; i++)
            {
                VmaEntry vma = process.Memory.Vmas[i];
                uint flags = Wanted(vma);
                if (flags == 0) continue;
                bool carefully = (vma.Prot & PROT_READ) == 0 || _sharing.Contains(vma.Start);
                add(new PageRun(Math.Max(start, vma.Start), Math.Min(end, vma.End), flags, carefully));
            }
        }
    }
}
