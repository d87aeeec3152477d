using CriuPmem.Engine.Lazy;
using CriuPmem.Engine.Memory;
using CriuPmem.Images;

namespace CriuPmem.Engine.Dump;

/// <summary>What an instant restore of the new snapshot shall bring back first, as far as a dump knows.</summary>
/// <remarks>
/// The kernel tells nobody which pages were only read. Known is what the program wrote while its memory was copied, or since the
/// snapshot before; and what was touched first after restores of the snapshots that the new one continues or replaces.
/// </remarks>
internal sealed class WorkingSet
{
    private readonly HotRange[] _replaced, _continued;

    /// <summary>Reads what earlier snapshots have; call it before the new one replaces them.</summary>
    /// <param name="directoryFd">The images directory.</param>
    /// <param name="earlier">The snapshot that is continued, if any.</param>
    public WorkingSet(int directoryFd, EarlierSnapshot? earlier)
    {
        _replaced = Known(directoryFd);
        _continued = earlier is null ? [] : Known(earlier.DirectoryFd);
    }

    /// <summary>Writes it beside a snapshot that is complete; where that is not possible there is none: it is advice.</summary>
    /// <param name="directoryFd">The images directory.</param>
    /// <param name="written">What was written lately.</param>
    /// <param name="log">Where it tells how much it was.</param>
    public void Save(int directoryFd, IEnumerable<(int Pid, PageRun Run)> written, EngineLog log)
    {
        var order = new HotOrder();
        foreach ((int pid, PageRun run) in written) order.Note((uint)pid, run.Start, run.End);
        int own = order.Ranges.Length;
        foreach (HotRange range in _continued) order.Note(range.Pid, range.Start, range.End);
        foreach (HotRange range in _replaced) order.Note(range.Pid, range.Start, range.End);
        if (order.Ranges.IsEmpty || HotPagesFile.Write(directoryFd, HotPagesFile.SnapshotOf(directoryFd), order.Ranges).Failed) return;
        log.Debug("lazy", $"{own} ranges that were written lately, and {order.Ranges.Length - own} that earlier snapshots name, come first at an instant restore");
    }

    private static HotRange[] Known(int directoryFd) =>
        HotPagesFile.Exists(directoryFd) ? HotPagesFile.Read(directoryFd, HotPagesFile.SnapshotOf(directoryFd), out _) : [];
}
