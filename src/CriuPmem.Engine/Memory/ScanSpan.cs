using CriuPmem.Engine.Dump;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Memory;

/// <summary>Neighbouring mappings whose pages are looked for in the same way.</summary>
/// <param name="Start">The first address.</param>
/// <param name="End">The address after the last.</param>
/// <param name="Saved">Pages may be the process's own, and are saved then; of others only guard regions are of interest.</param>
/// <param name="OfFile">Pages may be a file's.</param>
/// <param name="Tracked">Writes are told (<see cref="WriteTracker"/>).</param>
/// <param name="IsNew">But only from now on.</param>
internal readonly record struct ScanSpan(ulong Start, ulong End, bool Saved, bool OfFile, bool Tracked, bool IsNew)
{
    /// <summary>The spans of a process whose mappings are known, in ascending order.</summary>
    /// <param name="process">The process.</param>
    /// <param name="acrossGaps">
    /// A span may reach over what is not mapped. Not where pages are protected: a tracked mapping of a program that runs may have
    /// grown into the gap since, and its pages would be protected there, unseen.
    /// </param>
    public static IEnumerable<ScanSpan> Of(DumpProcess process, bool acrossGaps)
    {
        IReadOnlyList<(ulong Start, ulong End, bool IsNew)> tracked = process.Tracker?.Ranges ?? [];
        int next = 0;
        ScanSpan? open = null;
        foreach (VmaEntry vma in process.Memory.Vmas)
        {
            if (vma.Start >= TaskSize) continue; // [vsyscall] lies beyond what can be scanned
            while (next < tracked.Count && tracked[next].End <= vma.Start) next++;
            bool isTracked = next < tracked.Count && tracked[next].Start < vma.End;
            bool saved = PagePlanner.Wanted(vma) != 0;
            var span = new ScanSpan(
                vma.Start, vma.End, saved, saved && ((VmaStatus)vma.Status & VmaStatus.FilePrivate) != 0, saved && isTracked, saved && isTracked && tracked[next].IsNew);
            if (open is { } before && (acrossGaps || before.End == vma.Start) && before with { Start = 0, End = 0 } == span with { Start = 0, End = 0 })
            {
                open = before with { End = vma.End };
                continue;
            }

            if (open is { } done) yield return done;
            open = span;
        }

        if (open is { } last) yield return last;
    }

    /// <summary>Takes the upper half out of <paramref name="spans"/>, where that is worth a second thread.</summary>
    public static List<ScanSpan> TakeHalf(List<ScanSpan> spans)
    {
        const ulong worthwhileBytes = 512 << 20, tableBytes = 2 << 20;
        ulong total = 0, before = 0;
        foreach (ScanSpan span in spans) total += span.End - span.Start;
        var upper = new List<ScanSpan>();
        if (total < worthwhileBytes) return upper;
        for (int i = 0; i < spans.Count; i++)
        {
            ScanSpan span = spans[i];
            before += span.End - span.Start;
            if (before < total / 2) continue;
            upper.AddRange(spans[(i + 1)..]);
            spans.RemoveRange(i + 1, spans.Count - i - 1);
            // The border lies in this span: at the beginning of a page table, for a huge page is told as a whole.
            ulong border = (span.End - (before - total / 2)) & ~(tableBytes - 1);
            if (border <= span.Start || border >= span.End) return upper;
            spans[i] = span with { End = border };
            upper.Insert(0, span with { Start = border });
            return upper;
        }

        return upper;
    }
}
