using CriuPmem.Engine.Dump;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Memory;

/// <summary>Saves the pages of every process that are its own: pagemap-PID.img and pages-N.img.</summary>
/// <remarks>
/// Saved are anonymous pages, private copies of file pages, and pages in swap. Not saved are pages never touched, the zero
/// page, and pages that their file still has.
/// </remarks>
internal sealed class MemoryDump(DumpContext context) : IDisposable
{
    private readonly PageScanner _scanner = new();

    /// <summary>Pages written.</summary>
    public long WrittenPages { get; private set; }

    /// <summary>Pages looked at.</summary>
    public long ScannedPages => _scanner.ScannedPages;

    /// <summary>Saves one process's pages.</summary>
    public void Save(DumpProcess process, PageCopier copier)
    {
        List<PageRun> runs = Runs(process);
        uint pagesId = context.NextPagesId();
        using (var pagemap = new PagemapWriter(context.Snapshot, ImageKind.Pagemap, process.Pid, pagesId))
        {
            foreach (PageRun run in runs) pagemap.Add(run.Start, run.LengthBytes / PageSize, (PageFlags)run.Flags);
        }

        int pages = context.Snapshot.OpenRaw(ImageKind.Pages, pagesId, truncate: true);
        try
        {
            WrittenPages += copier.Copy(process, runs, pages, $"{context.Options.ImagesDirectory}/{ImageKind.Pages.FileName(pagesId)}");
        }
        finally
        {
            Sys.Close(pages);
        }
    }

    /// <inheritdoc />
    public void Dispose() => _scanner.Dispose();

    private List<PageRun> Runs(DumpProcess process)
    {
        var runs = new List<PageRun>();
        var guards = new List<VmaEntry>();
        using OwnedFd pagemap = Sys.OpenOrThrow(process.Proc.Fd, "pagemap", O_RDONLY);
        var sharing = process.Mappings.Where(mapping => mapping.MayShareCopies).Select(mapping => mapping.Start).ToHashSet();
        int next = 0;
        // One scan of the whole address space; what it finds is then cut at the borders of the mappings.
        _scanner.OwnPages(pagemap.Fd, 0, TaskSize, (start, end, isGuard) =>
        {
            if (isGuard)
            {
                guards.Add(new VmaEntry { Start = start, End = end, Pgoff = 0, Shmid = 0, Prot = 0, Flags = 0, Status = (uint)VmaStatus.Guard, Fd = -1 });
                return;
            }

            while (next < process.Memory.Vmas.Count && process.Memory.Vmas[next].End <= start) next++;
            for (int i = next; i < process.Memory.Vmas.Count && process.Memory.Vmas[i].Start < end; i++)
            {
                VmaEntry vma = process.Memory.Vmas[i];
                uint flags = Wanted(vma);
                if (flags == 0) continue;
                bool carefully = (vma.Prot & PROT_READ) == 0 || sharing.Contains(vma.Start);
                runs.Add(new PageRun(Math.Max(start, vma.Start), Math.Min(end, vma.End), flags, carefully));
            }
        });
        // The vDSO's pages are the kernel's, but another kernel's restore needs to see this one's code.
        foreach (VmaEntry vma in process.Memory.Vmas)
        {
            if (((VmaStatus)vma.Status & VmaStatus.Vdso) != 0) runs.Add(new PageRun(vma.Start, vma.End, (uint)PageFlags.Present, false));
        }

        process.Memory.Vmas.AddRange(guards); // behind the mappings that they lie in
        runs.Sort((a, b) => a.Start.CompareTo(b.Start));
        return runs;
    }

    /// <summary>The page map flags with which a mapping's own pages are saved; 0 when they are not.</summary>
    private static uint Wanted(VmaEntry vma)
    {
        var status = (VmaStatus)vma.Status;
        if ((status & (VmaStatus.Vsyscall | VmaStatus.Vvar | VmaStatus.Vdso)) != 0) return 0;
        if ((status & VmaStatus.FilePrivate) != 0) return (uint)PageFlags.Present;
        if ((status & VmaStatus.AnonPrivate) == 0) return 0;
        // Locked memory is populated by mlock and must not be left to a later fault.
        return (uint)((vma.Flags & MAP_LOCKED) != 0 ? PageFlags.Present : PageFlags.Present | PageFlags.Lazy);
    }
}
