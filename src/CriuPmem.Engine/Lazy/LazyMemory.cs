using CriuPmem.Engine.Memory;
using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Lazy;

/// <summary>What of a process's memory may be filled after it runs again, and what must be there before.</summary>
/// <remarks>
/// Later: pages that the images mark so, of private anonymous mappings. Before: locked ones, those of files and the
/// kernel's, and mappings that a child gets wiped (MADV_WIPEONFORK): the pager could not tell them from others there. Also
/// the stack with arguments and environment: /proc/PID/cmdline and environ (access_remote_vm) do not wait for missing pages.
/// And pages that relatives share since a fork: who shares one is born with it, and what the pager fills is filled for one alone.
/// </remarks>
internal sealed class LazyMemory
{
    // Among pages that are read at once a shorter stretch is not worth a place in the pager's list: it is read, too.
    private const ulong LeastBytes = 64 << 10;

    private readonly (ulong Start, ulong End)[] _guards;

    private LazyMemory(RestoreProcess process)
    {
        Process = process;
        _guards = [.. process.Guards.Order()];
    }

    /// <summary>The process.</summary>
    public RestoreProcess Process { get; }

    /// <summary>The mappings that are left to the pager.</summary>
    public List<(ulong Start, ulong LengthBytes)> Mappings { get; } = [];

    /// <summary>The pages that are filled later, in address order.</summary>
    public List<SavedRun> Later { get; } = [];

    /// <summary>The pages that are read at once.</summary>
    public List<SavedRun> Now { get; } = [];

    /// <summary>
    /// Ranges of those filled later that must be emptied when the others have been read: the kernel may have filled some of
    /// them with zeros in huge pages, and a child may have been born with its parent's there.
    /// </summary>
    public List<(ulong Start, ulong End)> Cleared { get; } = [];

    /// <summary>Where huge pages may be when all is filled: whole ones, in which nothing is shared.</summary>
    public List<(ulong Start, ulong End)> Huge { get; } = [];

    /// <summary>Bytes that are filled later.</summary>
    public long LaterBytes { get; private set; }

    /// <summary>Looks at a process; null when nothing of it can wait.</summary>
    /// <param name="process">The process.</param>
    /// <param name="pages">The pages that it does not have yet.</param>
    /// <param name="lent">Pages that must be there when its children are born, in address order; they may overlap.</param>
    /// <param name="inherits">It was born with its parent's memory.</param>
    public static LazyMemory? Of(RestoreProcess process, SavedPages pages, IReadOnlyList<(ulong Start, ulong End)> lent, bool inherits)
    {
        var memory = new LazyMemory(process);
        List<(ulong Start, ulong End)> needed = Merged(lent);
        ulong least = needed.Count > 0 || inherits ? LeastBytes : 0;
        foreach (VmaEntry vma in process.Memory!.Vmas)
        {
            int later = memory.Later.Count, now = memory.Now.Count;
            bool mayWait = MayWait(vma) && !HoldsArguments(process.Memory, vma);
            foreach (SavedRun run in pages.Slice(vma.Start, vma.End))
            {
                if (mayWait && (run.Flags & PageFlags.Lazy) != 0) memory.AddBut(needed, run, least);
                else memory.Now.Add(run);
            }

            if (memory.Later.Count == later) continue;
            memory.Mappings.Add((vma.Start, vma.End - vma.Start));
            if (inherits || memory.Now.Count > now) memory.AddCleared(later);
            if (least == 0 && MemoryRestore.MayBeHuge(process, vma)) memory.AddHuge(later);
        }

        return memory.Later.Count > 0 ? memory : null;
    }

    /// <summary>Looks at a process whose memory a lazy-pages daemon fills: all that the images mark so.</summary>
    /// <exception cref="CheckpointException">The images mark pages of memory that cannot wait.</exception>
    public static LazyMemory ForDaemon(RestoreProcess process, SavedPages pages)
    {
        var memory = new LazyMemory(process);
        memory.Now.AddRange(pages.Runs.Where(static run => (run.Flags & PageFlags.Lazy) == 0));
        List<(ulong Start, ulong End)> later = LazyRuns.Of(pages);
        memory.LaterBytes = later.Sum(static run => (long)(run.End - run.Start));
        int at = 0;
        foreach (VmaEntry vma in process.Memory!.Vmas)
        {
            while (at < later.Count && later[at].End <= vma.Start) at++;
            if (at == later.Count || later[at].Start >= vma.End) continue;
            // The peer marks what a child gets wiped, too, and fills it whatever the child has done.
            if (!MayWait(vma, evenWiped: true))
            {
                throw process.Fail(ErrorCode.ImageUnsupported, "the images leave pages of this mapping for later, whose kind cannot wait", "Restore without --lazy-pages", $"mapping {vma.Start:x}-{vma.End:x}");
            }

            memory.Mappings.Add((vma.Start, vma.End - vma.Start));
        }

        return memory;
    }

    /// <summary>Adds a run that may wait, but for parts that are needed, and those that are too short to wait.</summary>
    private void AddBut(List<(ulong Start, ulong End)> needed, SavedRun run, ulong least)
    {
        int first = needed.BinarySearch((run.Start, ulong.MaxValue));
        for (int i = Math.Max(0, ~first - 1); i < needed.Count && needed[i].Start < run.End; i++)
        {
            if (needed[i].End <= run.Start) continue;
            ulong from = Math.Max(needed[i].Start, run.Start), to = Math.Min(needed[i].End, run.End);
            if (from > run.Start) AddPart(run, run.Start, from, least);
            Now.Add(Part(run, from, to));
            run = Part(run, to, run.End);
        }

        if (run.LengthBytes > 0) AddPart(run, run.Start, run.End, least);
    }

    private void AddPart(SavedRun run, ulong start, ulong end, ulong least)
    {
        if (end - start < least) Now.Add(Part(run, start, end));
        else AddLaterButGuards(Part(run, start, end));
    }

    /// <summary>A page that is filled later would take the place of a guard that is there by then: such pages (a live dump saves some) are read before.</summary>
    private void AddLaterButGuards(SavedRun run)
    {
        foreach ((ulong start, ulong end) in _guards)
        {
            if (start >= run.End) break;
            if (end <= run.Start) continue;
            ulong from = Math.Max(start, run.Start), to = Math.Min(end, run.End);
            if (from > run.Start) AddLater(run with { LengthBytes = from - run.Start });
            Now.Add(Part(run, from, to));
            run = Part(run, to, run.End);
        }

        if (run.LengthBytes > 0) AddLater(run);
    }

    private static SavedRun Part(SavedRun run, ulong start, ulong end) => run with { Start = start, LengthBytes = end - start, Offset = run.Offset + (start - run.Start) };

    /// <summary>The ranges without overlaps, and as one where hardly anything lies between two.</summary>
    private static List<(ulong Start, ulong End)> Merged(IReadOnlyList<(ulong Start, ulong End)> ranges)
    {
        var merged = new List<(ulong Start, ulong End)>();
        foreach ((ulong start, ulong end) in ranges)
        {
            if (merged.Count > 0 && start < merged[^1].End + LeastBytes) merged[^1] = (merged[^1].Start, Math.Max(merged[^1].End, end));
            else merged.Add((start, end));
        }

        return merged;
    }

    /// <summary>Has the runs from an index on emptied; where they are neighbours, together.</summary>
    private void AddCleared(int first)
    {
        for (int i = first; i < Later.Count; i++)
        {
            if (i > first && Cleared[^1].End == Later[i].Start) Cleared[^1] = (Cleared[^1].Start, Later[i].End);
            else Cleared.Add((Later[i].Start, Later[i].End));
        }
    }

    /// <summary>Notes the whole huge pages among the runs from an index on.</summary>
    private void AddHuge(int first)
    {
        const ulong huge = PagerHugePages.PageBytes;
        for (int i = first; i < Later.Count;)
        {
            ulong start = (Later[i].Start + huge - 1) & ~(huge - 1), end = Later[i].End;
            for (i++; i < Later.Count && Later[i].Start == end; i++) end = Later[i].End;
            end &= ~(huge - 1);
            if (start < end) Huge.Add((start, end));
        }
    }

    private void AddLater(SavedRun run)
    {
        Later.Add(run);
        LaterBytes += (long)run.LengthBytes;
    }

    private static bool HoldsArguments(MmEntry memory, VmaEntry vma) =>
        (memory.MmArgStart < vma.End && memory.MmArgEnd > vma.Start) || (memory.MmEnvStart < vma.End && memory.MmEnvEnd > vma.Start) ||
        (memory.MmStartStack >= vma.Start && memory.MmStartStack < vma.End);

    private static bool MayWait(VmaEntry vma, bool evenWiped = false)
    {
        const VmaStatus others = VmaStatus.FilePrivate | VmaStatus.FileShared | VmaStatus.Vdso | VmaStatus.Vvar | VmaStatus.Vsyscall;
        var status = (VmaStatus)vma.Status;
        return (status & VmaStatus.AnonPrivate) != 0 && (status & others) == 0 && (vma.Flags & MAP_LOCKED) == 0 && (evenWiped || (vma.Madv & 1UL << MADV_WIPEONFORK) == 0);
    }
}
