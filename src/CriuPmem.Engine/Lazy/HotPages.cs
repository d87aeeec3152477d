using CriuPmem.Images;

namespace CriuPmem.Engine.Lazy;

/// <summary>What is to be filled first, because it was touched first at an earlier restore; and what is touched at this one.</summary>
/// <remarks>
/// The order that is noted is that in which pages came: for a program that waited, or because they were hot before. So what
/// was late moves forward from restore to restore, and what is not needed any more is kept as long as there is room.
/// </remarks>
internal sealed class HotPages
{
    private readonly int _directoryFd;
    private readonly EngineLog _log;
    private readonly ulong _snapshot;
    private readonly HotRange[] _known;
    private readonly HotOrder _order = new();
    private int _next;

    private HotPages(int directoryFd, EngineLog log)
    {
        (_directoryFd, _log) = (directoryFd, log);
        _known = [];
        if (directoryFd < 0) return;
        _snapshot = HotPagesFile.SnapshotOf(directoryFd);
        _known = HotPagesFile.Read(directoryFd, _snapshot, out string? cause);
        if (cause is not null) log.Info("lazy", $"{ImageKind.HotPages.FileName()} is not heeded: {cause}");
    }

    /// <summary>Reads what is known of a snapshot; call it while that cannot be replaced.</summary>
    /// <param name="directoryFd">The images directory, which stays the caller's.</param>
    /// <param name="log">Where it tells what it does.</param>
    public static HotPages Open(int directoryFd, EngineLog log) => new(directoryFd, log);

    /// <summary>How many ranges were known.</summary>
    public int Known => _known.Length;

    /// <summary>The next that is to be filled.</summary>
    public bool TryPeek(out HotRange range)
    {
        bool any = _next < _known.Length;
        range = any ? _known[_next] : default;
        return any;
    }

    /// <summary>It is filled, as far as there is anything to fill: the next. True when it was the last.</summary>
    public bool Advance()
    {
        HotRange range = _known[_next++];
        Note(range.Pid, range.Start, range.End);
        return _next == _known.Length;
    }

    /// <summary>Notes that pages came.</summary>
    /// <param name="pid">Whose, by the saved number; 0 for nobody's.</param>
    /// <param name="start">Address of the first.</param>
    /// <param name="end">Address after the last.</param>
    public void Note(uint pid, ulong start, ulong end)
    {
        if (_directoryFd >= 0) _order.Note(pid, start, end);
    }

    /// <summary>Keeps what was noted for the next restore of the same snapshot; where that is not possible it is not kept.</summary>
    public void Save()
    {
        while (_next < _known.Length) Advance(); // nobody lived so long
        if (_order.Ranges.IsEmpty || _order.Ranges.SequenceEqual(_known)) return;
        SysResult written = HotPagesFile.Write(_directoryFd, _snapshot, _order.Ranges);
        if (written.Failed) _log.Info("lazy", $"what was touched first is not kept for the next restore: {(written.Errno == Errno.ESTALE ? "the snapshot was replaced or removed" : written.Errno.ToString())}");
        else _log.Debug("lazy", $"{_order.Ranges.Length} ranges that were touched first are kept for the next restore");
    }
}
