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

    /// <summary>The pages that stay shared, in address order.</summary>
    public List<(ulong Start, ulong End)> Shared { get; } = [];

    /// <summary>The runs that the child still has to read.</summary>
    public List<SavedRun> Reads { get; } = [];

    /// <summary>The runs that the parent has and the child has not.</summary>
    public List<(ulong Address, ulong LengthBytes)> Drops { get; } = [];

    /// <summary>True for a mapping (by its start) that stays as it was inherited.</summary>
    public bool Keeps(VmaEntry vma) => _kept.Contains(vma.Start);

    /// <summary>True when anything is kept.</summary>
    public bool Any => _kept.Count > 0;

    /// <summary>True when a page of the child is the same as its parent's.</summary>
    public bool IsSharing => Shared.Count > 0;

    /// <summary>Whether a child can have been born with its parent's memory, and still have some of it.</summary>
    public static bool IsPossible(RestoreContext context, RestoreProcess parent, RestoreProcess child) =>
        !context.Options.LazyPages && // a daemon fills every process by itself
        parent.Memory is not null && child.Memory is not null && parent.Ids!.VmId != child.Ids!.VmId &&
        parent.Memory.ExeFileId == child.Memory.ExeFileId && Vdso(parent.Memory) == Vdso(child.Memory);

    /// <summary>Finds what a child that was born with its parent's memory keeps, reads and drops.</summary>
    public static Inheritance Plan(RestoreContext context, RestoreProcess parent, RestoreProcess child)
    {
        var plan = new Inheritance();
        plan._kept.UnionWith(SameMappings(parent, child));
        using PagesFile? theirs = PagesFile.TryOpen(context, parent);
        using PagesFile? own = PagesFile.TryOpen(context, child);
        if (own is not null) plan.FindReads(child, context.PagesOf(child)!, theirs, own);
        if (context.PagesOf(parent) is { } pages) plan.FindDrops(child, pages, context.PagesOf(child));
        return plan;
    }

    private void FindReads(RestoreProcess child, SavedPages pages, PagesFile? theirs, PagesFile own)
    {
        foreach (VmaEntry vma in child.Memory!.Vmas)
        {
            bool kept = Keeps(vma);
            foreach (SavedRun run in pages.Slice(vma.Start, vma.End))
            {
                for (ulong at = run.Start; at < run.End; at += PageSize)
                {
                    ReadOnlySpan<byte> page = own.PageAt(run, at);
                    if (kept && theirs is not null && theirs.TryFind(at, out ReadOnlySpan<byte> inherited))
                    {
                        ComparedPages++;
                        if (inherited.SequenceEqual(page))
                        {
                            Share(at);
                            continue;
                        }
                    }

                    Append(new SavedRun(at, PageSize, run.Flags, run.File, run.Offset + (at - run.Start)));
                }
            }
        }
    }

    private void Share(ulong page)
    {
        if (Shared.Count > 0 && Shared[^1].End == page) Shared[^1] = (Shared[^1].Start, page + PageSize);
        else Shared.Add((page, page + PageSize));
    }

    private void FindDrops(RestoreProcess child, SavedPages theirs, SavedPages? own)
    {
        foreach (VmaEntry vma in child.Memory!.Vmas.Where(Keeps))
        {
            foreach (SavedRun run in theirs.Slice(vma.Start, vma.End))
            {
                ulong at = run.Start;
                foreach (SavedRun kept in own?.Slice(run.Start, run.End) ?? [])
                {
                    Drop(at, kept.Start);
                    at = kept.End;
                }

                Drop(at, run.End);
            }
        }
    }

    private void Drop(ulong start, ulong end)
    {
        if (start == end) return;
        if (Drops.Count > 0 && Drops[^1].Address + Drops[^1].LengthBytes == start) Drops[^1] = (Drops[^1].Address, end - Drops[^1].Address);
        else Drops.Add((start, end - start));
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
}
