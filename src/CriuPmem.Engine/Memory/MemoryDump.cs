using CriuPmem.Engine.Dump;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Saves the pages of every process that are its own: pagemap-PID.img and a pages file.</summary>
internal sealed class MemoryDump(PagesStore store, PagesIds ids) : IDisposable
{
    private readonly PagePlanner _planner = new();
    private readonly PageCopier _copier = new();

    /// <summary>Pages written.</summary>
    public long WrittenPages { get; private set; }

    /// <summary>Pages left to an earlier snapshot.</summary>
    public long ParentPages { get; private set; }

    /// <summary>Pages looked at.</summary>
    public long ScannedPages => _planner.ScannedPages;

    /// <summary>Copies pages of everything.</summary>
    public PageCopier Copier => _copier;

    /// <summary>Plans what is saved of a process; see <see cref="PagePlanner.Plan"/>.</summary>
    public PagePlan Plan(DumpProcess process, SavedPages? earlier = null, bool protect = false, bool running = false) => _planner.Plan(process, earlier, protect, running);

    /// <summary>Saves one process's pages as planned.</summary>
    /// <param name="process">The process.</param>
    /// <param name="plan">What is saved.</param>
    /// <param name="running">It runs meanwhile: pages that are gone become zeros, since nobody will ask for them.</param>
    public void Save(DumpProcess process, PagePlan plan, bool running = false)
    {
        uint pagesId = ids.Next();
        using (PagemapWriter pagemap = store.NewMap(ImageKind.Pagemap, process.Pid, pagesId))
        {
            foreach (PageRun run in plan.Runs) pagemap.Add(run.Start, run.LengthBytes / PageSize, (PageFlags)run.Flags);
        }

        WrittenPages += store.Save(_copier, process, plan.Stored, pagesId, running);
        ParentPages += plan.ParentPages;
    }

    /// <summary>Saves the pages that a group of processes has in common, in the snapshot before.</summary>
    /// <param name="common">That snapshot's pages.</param>
    /// <param name="group">The processes.</param>
    /// <param name="pagesId">The number of the pages file there.</param>
    public void SaveCommon(PagesStore common, CommonPages.Group group, uint pagesId)
    {
        foreach ((DumpProcess process, _) in group.Members)
        {
            using PagemapWriter pagemap = common.NewMap(ImageKind.Pagemap, process.Pid, pagesId);
            foreach (PageRun run in group.Stored) pagemap.Add(run.Start, run.LengthBytes / PageSize, (PageFlags)run.Flags);
        }

        WrittenPages += common.Save(_copier, group.Source, group.Stored, pagesId);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _planner.Dispose();
        _copier.Dispose();
    }
}
