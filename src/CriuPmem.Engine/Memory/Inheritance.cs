using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Memory;

/// <summary>What a forked process keeps of its parent's memory, so that both go on sharing pages (copy on write).</summary>
/// <remarks>
/// Images do not tell which pages were shared; equal contents at the same address of the same mapping do. A child with
/// any such page is born after its parent's memory is built, and only what differs is read.
/// </remarks>
internal sealed class Inheritance
{
    private const ulong NotInherited = 1UL << MADV_DONTFORK | 1UL << MADV_WIPEONFORK;

    private readonly HashSet<ulong> _kept = [];

    /// <summary>Nothing is kept.</summary>
    public static Inheritance None { get; } = new();

    /// <summary>Pages compared.</summary>
    public long ComparedPages { get; private set; }

    /// <summary>The runs that the child still has to read.</summary>
    public List<SavedRun> Reads { get; } = [];

    /// <summary>The runs that the parent has and the child has not.</summary>
    public List<(ulong Address, ulong LengthBytes)> Drops { get; } = [];

    /// <summary>True for a mapping (by its start) that stays as it was inherited.</summary>
    public bool Keeps(VmaEntry vma) => _kept.Contains(vma.Start);

    /// <summary>True when anything is kept.</summary>
    public bool Any => _kept.Count > 0;

    /// <summary>True when a page of the child is the same as its parent's.</summary>
    public bool IsSharing { get; private set; }

    /// <summary>Whether a child can be born with its parent's memory at all.</summary>
    public static bool IsPossible(RestoreContext context, RestoreProcess parent, RestoreProcess child) =>
        !context.Options.LazyPages && CanInherit(parent, child); // a daemon fills every process by itself

    /// <summary>Finds what a child that was born with its parent's memory keeps, reads and drops.</summary>
    public static Inheritance Plan(RestoreContext context, RestoreProcess parent, RestoreProcess child)
    {
        var plan = new Inheritance();
        plan._kept.UnionWith(SameMappings(parent, child));
        using PagesFile? theirs = PagesFile.TryOpen(context, parent);
        using PagesFile? own = PagesFile.TryOpen(context, child);
        if (own is not null) plan.FindReads(child, theirs, own);
        if (theirs is not null) plan.FindDrops(child, theirs, own);
        return plan;
    }

    private void FindReads(RestoreProcess child, PagesFile? theirs, PagesFile own)
    {
        foreach (SavedRun run in own.Runs)
        {
            bool kept = IsIn(child, _kept, run.Start);
            for (ulong at = run.Start; at < run.End; at += PageSize)
            {
                ReadOnlySpan<byte> page = own.PageAt(run, at);
                if (kept && theirs is not null && theirs.TryFind(at, out ReadOnlySpan<byte> inherited))
                {
                    ComparedPages++;
                    if (inherited.SequenceEqual(page))
                    {
                        IsSharing = true;
                        continue;
                    }
                }

                Append(new SavedRun(at, PageSize, run.Flags, run.File, run.Offset + (at - run.Start)));
            }
        }
    }

    private void FindDrops(RestoreProcess child, PagesFile theirs, PagesFile? own)
    {
        foreach (SavedRun run in theirs.Runs)
        {
            for (ulong at = run.Start; at < run.End; at += PageSize)
            {
                if (!IsIn(child, _kept, at) || (own is not null && own.TryFind(at, out _))) continue;
                if (Drops.Count > 0 && Drops[^1].Address + Drops[^1].LengthBytes == at) Drops[^1] = (Drops[^1].Address, Drops[^1].LengthBytes + PageSize);
                else Drops.Add((at, PageSize));
            }
        }
    }

    private void Append(SavedRun page)
    {
        if (Reads.Count > 0 && Reads[^1] is var last && last.End == page.Start && last.File == page.File && last.Offset + last.LengthBytes == page.Offset)
        {
            Reads[^1] = last with { LengthBytes = last.LengthBytes + page.LengthBytes };
            return;
        }

        Reads.Add(page);
    }

    private static bool CanInherit(RestoreProcess parent, RestoreProcess child) =>
        parent.Memory is not null && child.Memory is not null && parent.Ids!.VmId != child.Ids!.VmId &&
        parent.Memory.ExeFileId == child.Memory.ExeFileId && Vdso(parent.Memory) == Vdso(child.Memory);

    private static ulong Vdso(MmEntry memory) =>
        memory.Vmas.FirstOrDefault(vma => ((VmaStatus)vma.Status & VmaStatus.Vdso) != 0)?.Start ?? 0;

    private static HashSet<ulong> SameMappings(RestoreProcess parent, RestoreProcess child)
    {
        var same = new HashSet<ulong>();
        var theirs = parent.Memory!.Vmas.ToDictionary(vma => vma.Start);
        foreach (VmaEntry vma in child.Memory!.Vmas)
        {
            if (!theirs.TryGetValue(vma.Start, out VmaEntry? other) || other.End != vma.End || other.Flags != vma.Flags || other.Status != vma.Status) continue;
            if (other.Shmid != vma.Shmid || other.Pgoff != vma.Pgoff || other.Madv != vma.Madv || (other.Madv & NotInherited) != 0) continue;
            if (((VmaStatus)vma.Status & (VmaStatus.AnonPrivate | VmaStatus.FilePrivate)) == 0) continue;
            if (((VmaStatus)vma.Status & (VmaStatus.Vdso | VmaStatus.Vvar | VmaStatus.Vsyscall)) != 0) continue;
            same.Add(vma.Start);
        }

        return same;
    }

    private static bool IsIn(RestoreProcess child, HashSet<ulong> starts, ulong address)
    {
        Google.Protobuf.Collections.RepeatedField<VmaEntry> vmas = child.Memory!.Vmas;
        int low = 0, high = vmas.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (vmas[middle].End <= address) low = middle + 1;
            else high = middle;
        }

        return low < vmas.Count && vmas[low].Start <= address && starts.Contains(vmas[low].Start);
    }
}
