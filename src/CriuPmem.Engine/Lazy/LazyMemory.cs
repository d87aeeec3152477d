using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Lazy;

/// <summary>What of a process's memory may be filled after it runs again, and what must be there before.</summary>
/// <remarks>
/// Later: pages that the images mark so, of private anonymous mappings. Before: locked ones, those of files and the
/// kernel's, and mappings that a child gets wiped (MADV_WIPEONFORK): the pager could not tell them from others there. Also
/// the stack with arguments and environment: /proc/PID/cmdline and environ (access_remote_vm) do not wait for missing pages.
/// </remarks>
internal sealed class LazyMemory
{
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

    /// <summary>Bytes that are filled later.</summary>
    public long LaterBytes { get; private set; }

    /// <summary>Looks at a process; null when nothing of it can wait.</summary>
    public static LazyMemory? Of(RestoreProcess process, SavedPages pages)
    {
        var memory = new LazyMemory(process);
        foreach (VmaEntry vma in process.Memory!.Vmas)
        {
            int before = memory.Later.Count;
            bool mayWait = MayWait(vma) && !HoldsArguments(process.Memory, vma);
            foreach (SavedRun run in pages.Slice(vma.Start, vma.End))
            {
                if (mayWait && (run.Flags & PageFlags.Lazy) != 0) memory.AddLaterButGuards(run);
                else memory.Now.Add(run);
            }

            if (memory.Later.Count > before) memory.Mappings.Add((vma.Start, vma.End - vma.Start));
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

    /// <summary>A page that is filled later would take the place of a guard that is there by then: such pages (a live dump saves some) are read before.</summary>
    private void AddLaterButGuards(SavedRun run)
    {
        foreach ((ulong start, ulong end) in _guards)
        {
            if (start >= run.End) break;
            if (end <= run.Start) continue;
            ulong from = Math.Max(start, run.Start), to = Math.Min(end, run.End);
            if (from > run.Start) AddLater(run with { LengthBytes = from - run.Start });
            Now.Add(run with { Start = from, LengthBytes = to - from, Offset = run.Offset + (from - run.Start) });
            run = run with { Start = to, LengthBytes = run.End - to, Offset = run.Offset + (to - run.Start) };
        }

        if (run.LengthBytes > 0) AddLater(run);
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
