using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Which copy of each page counts, of those that several rounds have made.</summary>
internal static class PageVersions
{
    /// <summary>What counts after one more round.</summary>
    /// <param name="before">What counted before, in ascending order.</param>
    /// <param name="changes">What the round found.</param>
    /// <param name="offset">Where in the working file its copies begin.</param>
    public static List<SavedRun> Advance(List<SavedRun> before, PageChanges changes, ulong offset)
    {
        var now = new List<SavedRun>(before.Count + changes.Stored.Count);
        int next = 0;
        void Store(ulong upTo)
        {
            for (; next < changes.Stored.Count && changes.Stored[next].Start < upTo; next++)
            {
                PageRun run = changes.Stored[next];
                now.Add(new SavedRun(run.Start, run.LengthBytes, (PageFlags)run.Flags, 0, offset));
                offset += run.LengthBytes;
            }
        }

        foreach (SavedRun left in Without(before, changes.Replaced))
        {
            Store(left.Start);
            now.Add(left);
        }

        Store(ulong.MaxValue);
        return now;
    }

    /// <summary>The parts of runs that lie in <paramref name="ranges"/>, with their flags unless an earlier snapshot has them; both in ascending order.</summary>
    public static IEnumerable<SavedRun> Within(IEnumerable<SavedRun> runs, IReadOnlyList<(ulong Start, ulong End, PageFlags Flags)> ranges)
    {
        int at = 0;
        foreach (SavedRun run in runs)
        {
            ulong end = run.Start + run.LengthBytes;
            while (at < ranges.Count && ranges[at].End <= run.Start) at++;
            for (int i = at; i < ranges.Count && ranges[i].Start < end; i++)
            {
                yield return Part(run, Math.Max(run.Start, ranges[i].Start), Math.Min(end, ranges[i].End)) with { Flags = run.Flags == PageFlags.Parent ? PageFlags.Parent : ranges[i].Flags };
            }
        }
    }

    private static IEnumerable<SavedRun> Without(List<SavedRun> runs, IReadOnlyList<(ulong Start, ulong End)> ranges)
    {
        int at = 0;
        foreach (SavedRun run in runs)
        {
            ulong start = run.Start, end = run.Start + run.LengthBytes;
            while (at < ranges.Count && ranges[at].End <= start) at++;
            for (int i = at; i < ranges.Count && ranges[i].Start < end; i++)
            {
                if (ranges[i].Start > start) yield return Part(run, start, ranges[i].Start);
                start = Math.Max(start, ranges[i].End);
            }

            if (start < end) yield return Part(run, start, end);
        }
    }

    private static SavedRun Part(SavedRun run, ulong start, ulong end) =>
        run with { Start = start, LengthBytes = end - start, Offset = run.Offset + (start - run.Start) };
}
