using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Memory;

/// <summary>What is saved of one process's memory.</summary>
/// <param name="guards">Its guard regions, for the image of its mappings.</param>
internal sealed class PagePlan(List<VmaEntry> guards)
{
    private readonly List<PageRun> _runs = [];

    /// <summary>All runs in ascending order: those to be stored, and those that are in the parent.</summary>
    public List<PageRun> Runs => _runs;

    /// <summary>Its guard regions.</summary>
    public List<VmaEntry> Guards => guards;

    /// <summary>The runs whose contents go into the pages file, in its order.</summary>
    public List<PageRun> Stored => _runs.FindAll(run => (run.Flags & (uint)PageFlags.Present) != 0);

    /// <summary>Pages left to an earlier snapshot.</summary>
    public long ParentPages => _runs.Sum(run => run.InParent ? (long)(run.LengthBytes / PageSize) : 0);

    /// <summary>Adds a run; of what <paramref name="earlier"/> has, only the note that it is there.</summary>
    public void Add(PageRun run, SavedPages? earlier)
    {
        if (earlier is null)
        {
            _runs.Add(run);
            return;
        }

        ulong at = run.Start;
        for (int i = earlier.FirstAbove(at); at < run.End; i++)
        {
            ulong from = i < earlier.Runs.Count ? Math.Clamp(earlier.Runs[i].Start, at, run.End) : run.End;
            if (from > at) _runs.Add(run with { Start = at, End = from });
            if (from == run.End) return;
            at = Math.Min(earlier.Runs[i].End, run.End);
            _runs.Add(run with { Start = from, End = at, Flags = (uint)PageFlags.Parent });
        }
    }

    /// <summary>Leaves the contents of pages that may come later where they are (dump --lazy-pages).</summary>
    public void LeaveLazy()
    {
        for (int i = 0; i < _runs.Count; i++)
        {
            if ((_runs[i].Flags & (uint)PageFlags.Lazy) != 0) _runs[i] = _runs[i] with { Flags = (uint)PageFlags.Lazy };
        }
    }

    /// <summary>Puts the runs in ascending order.</summary>
    public void Sort() => _runs.Sort((a, b) => a.Start.CompareTo(b.Start));
}
