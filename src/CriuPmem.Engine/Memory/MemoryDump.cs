using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Transfer;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Saves the pages of every process that are its own.</summary>
/// <param name="store">Where they go.</param>
internal sealed class MemoryDump(IPageStore store) : IDisposable
{
    private readonly PagePlanner _planner = new();

    /// <summary>Pages written.</summary>
    public long WrittenPages { get; private set; }

    /// <summary>Pages left to an earlier snapshot.</summary>
    public long ParentPages { get; private set; }

    /// <summary>Pages looked at.</summary>
    public long ScannedPages => _planner.ScannedPages;

    /// <summary>Where pages go.</summary>
    public IPageStore Store => store;

    /// <summary>What an earlier snapshot has of a process, so that it need not be saved again; null when nothing.</summary>
    public SavedPages? EarlierPages(EarlierSnapshot? earlier, DumpProcess process) =>
        earlier?.PagesOf(process) is { } pages && store.Continues(process.Pid, pages) ? pages : null;

    /// <summary>Plans what is saved of a process; see <see cref="PagePlanner.Plan"/>.</summary>
    public PagePlan Plan(DumpProcess process, SavedPages? earlier = null, bool protect = false, bool running = false) => _planner.Plan(process, earlier, protect, running);

    /// <summary>Saves one process's pages as planned.</summary>
    /// <param name="process">The process.</param>
    /// <param name="plan">What is saved.</param>
    /// <param name="running">It runs meanwhile: pages that are gone become zeros, since nobody will ask for them.</param>
    public void Save(DumpProcess process, PagePlan plan, bool running = false)
    {
        WrittenPages += store.Save(process, plan, running);
        ParentPages += plan.ParentPages;
    }

    /// <inheritdoc />
    public void Dispose() => _planner.Dispose();
}
