namespace CriuPmem.Images;

/// <summary>The saved pages of one address space or shared object, wherever in a chain of snapshots their contents lie.</summary>
/// <param name="Files">The pages files that are needed; the snapshot's own is the first.</param>
/// <param name="Runs">The pages, in ascending order, without overlaps.</param>
internal sealed record SavedPages(IReadOnlyList<PagesSource> Files, IReadOnlyList<SavedRun> Runs)
{
    /// <summary>Pages whose contents no image has: they stayed with a dump that serves them (dump --lazy-pages).</summary>
    public IReadOnlyList<(ulong Start, ulong End)> Absent { get; init; } = [];

    /// <summary>Their sum, in bytes.</summary>
    public ulong TotalBytes => Runs.Aggregate(0UL, (sum, run) => sum + run.LengthBytes);

    /// <summary>The index of the first run that ends above <paramref name="address"/>; the count when there is none.</summary>
    public int FirstAbove(ulong address)
    {
        int low = 0, high = Runs.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (Runs[middle].End <= address) low = middle + 1;
            else high = middle;
        }

        return low;
    }

    /// <summary>The parts of runs that lie between two addresses.</summary>
    public IEnumerable<SavedRun> Slice(ulong start, ulong end)
    {
        for (int i = FirstAbove(start); i < Runs.Count && Runs[i].Start < end; i++)
        {
            SavedRun run = Runs[i];
            ulong from = Math.Max(start, run.Start), to = Math.Min(end, run.End);
            yield return run with { Start = from, LengthBytes = to - from, Offset = run.Offset + (from - run.Start) };
        }
    }
}
