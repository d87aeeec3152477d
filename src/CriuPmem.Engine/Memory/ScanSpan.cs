using CriuPmem.Engine.Dump;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Memory;

/// <summary>Neighbouring mappings whose pages are looked for in the same way; what lies between them is not mapped.</summary>
/// <param name="Start">The first address.</param>
/// <param name="End">The address after the last.</param>
/// <param name="Saved">Pages may be the process's own, and are saved then; of others only guard regions are of interest.</param>
/// <param name="OfFile">Pages may be a file's.</param>
/// <param name="Tracked">Writes are told (<see cref="WriteTracker"/>).</param>
/// <param name="IsNew">But only from now on.</param>
internal readonly record struct ScanSpan(ulong Start, ulong End, bool Saved, bool OfFile, bool Tracked, bool IsNew)
{
    /// <summary>The spans of a process whose mappings are known, in ascending order.</summary>
    public static IEnumerable<ScanSpan> Of(DumpProcess process)
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
            if (open is { } before && before with { Start = 0, End = 0 } == span with { Start = 0, End = 0 })
            {
                open = before with { End = vma.End };
                continue;
            }

            if (open is { } done) yield return done;
            open = span;
        }

        if (open is { } last) yield return last;
    }
}
