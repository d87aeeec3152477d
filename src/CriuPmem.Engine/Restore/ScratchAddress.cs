using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Restore;

/// <summary>Finds an address for the scratch mapping that is free in every process of the tree.</summary>
internal static class ScratchAddress
{
    private const ulong Lowest = 1 << 20;

    /// <summary>The lowest address at which a scratch mapping fits, with a page free on both sides.</summary>
    public static RemoteAddress Find(RestoreContext context)
    {
        var taken = new List<(ulong Start, ulong End)>();
        foreach (MmEntry memory in context.Contents.Mms.Values)
        {
            foreach (VmaEntry vma in memory.Vmas) taken.Add((vma.Start, vma.End));
        }

        taken.Sort();
        ulong at = Lowest;
        foreach ((ulong start, ulong end) in taken)
        {
            if (start >= at + SyscallBatch.ScratchBytes + 2 * PageSize) break;
            at = Math.Max(at, end);
        }

        return new RemoteAddress(at + PageSize);
    }
}
