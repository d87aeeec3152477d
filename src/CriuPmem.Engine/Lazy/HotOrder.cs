using System.Runtime.InteropServices;
using CriuPmem.Images;

namespace CriuPmem.Engine.Lazy;

/// <summary>Blocks of memory in the order in which they are noted for the first time, as hot-pages.img has them.</summary>
internal sealed class HotOrder
{
    private const ulong BlockBytes = 64 << 10;

    private readonly HashSet<(uint Pid, ulong Block)> _seen = [];
    private readonly List<HotRange> _ranges = [];

    /// <summary>What was noted, neighbours as one.</summary>
    public ReadOnlySpan<HotRange> Ranges => CollectionsMarshal.AsSpan(_ranges);

    /// <summary>Notes pages behind those that were noted already, as long as there is room.</summary>
    /// <param name="pid">Whose, by the saved number; 0 for nobody's.</param>
    /// <param name="start">Address of the first.</param>
    /// <param name="end">Address after the last.</param>
    public void Note(uint pid, ulong start, ulong end)
    {
        if (pid == 0) return;
        for (ulong at = start; at < end && _ranges.Count < HotPagesFile.MaxEntries;)
        {
            ulong block = at & ~(BlockBytes - 1), next = Math.Min(block + BlockBytes, end);
            if (_seen.Add((pid, block))) Append(pid, at, next);
            at = next;
        }
    }

    private void Append(uint pid, ulong start, ulong end)
    {
        var pages = (uint)((end - start) / PageSize);
        HotRange last = _ranges.Count > 0 ? _ranges[^1] : default;
        if (last.Pid == pid && last.End == start) _ranges[^1] = last with { Pages = last.Pages + pages };
        else if (last.Pid == pid && last.Start == end) _ranges[^1] = new HotRange(pid, last.Pages + pages, start);
        else _ranges.Add(new HotRange(pid, pages, start));
    }
}
