using CriuPmem.Engine.Dump;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Copies all memory while the tree stands still; of a snapshot in a chain, what was written since the one before.</summary>
internal sealed class FrozenMemory(DumpOptions options, SnapshotWriter snapshot, MemoryDump memory, EarlierSnapshot? earlier) : IMemorySaver
{
    private const ulong SmallKib = 8 << 10;

    private readonly HashSet<DumpProcess> _ahead = [];
    private readonly List<(int Pid, PageRun Run)> _written = []; // since the snapshot before
    private CommonLayer? _common;
    private long _sharedPages, _commonPages;

    /// <inheritdoc />
    public (long Written, long InParent, long Scanned) Pages => (memory.WrittenPages + _sharedPages + _commonPages, memory.ParentPages, memory.ScannedPages);

    /// <inheritdoc />
    public IEnumerable<(int Pid, PageRun Run)> WrittenLately => _written;

    /// <inheritdoc />
    public void Prepare()
    {
    }

    /// <inheritdoc />
    public void Begin(FrozenTree tree) => earlier?.TakeTrackers(tree, options.Log);

    /// <inheritdoc />
    public bool TrySaveAhead(DumpContext context, DumpProcess process)
    {
        if (IsTracking || options.DedupPages || process.Leader.Status.AnonymousKib > SmallKib) return false;
        _ahead.Add(process);
        context.Side.Post(() => Save(process, context.Tree));
        return true;
    }

    /// <inheritdoc />
    public void Save(FrozenTree tree, DumpContext context)
    {
        context.Side.Finish();
        // What is protected anew counts from this round on, and would be missing in any other that followed the same one.
        if (IsTracking) TrackingHolder.End(earlier?.Tracking);
        if (options.DedupPages) SaveCommon(tree);
        else foreach (DumpProcess process in tree.MemoryOwners)
        {
            if (_ahead.Contains(process)) continue;
            Save(process, tree);
        }

        _sharedPages = context.SharedMemory.Save(memory.Store);
    }

    private void SaveCommon(FrozenTree tree)
    {
        var plans = new List<(DumpProcess Process, PagePlan Plan)>();
        foreach (DumpProcess process in tree.MemoryOwners)
        {
            Interruption.Check();
            PagePlan plan = memory.Plan(process);
            process.Memory.Vmas.AddRange(plan.Guards); // behind the mappings that they lie in
            plans.Add((process, plan));
        }

        List<CommonPages.Group> groups = new CommonPages(plans).Groups();
        if (groups.Count > 0)
        {
            _common = new CommonLayer(snapshot, options);
            _commonPages = _common.Save(groups);
            options.Log.Info("memory", $"{_commonPages} pages are stored once for several processes");
        }

        Dictionary<DumpProcess, PagePlan> less = groups.SelectMany(static group => group.Members).ToDictionary(static member => member.Process, static member => member.Plan);
        foreach ((DumpProcess process, PagePlan plan) in plans)
        {
            Interruption.Check();
            memory.Save(process, less.GetValueOrDefault(process, plan));
        }
    }

    private bool IsTracking => options.TrackMemory && options.FinalState != FinalState.Killed;

    private void Save(DumpProcess process, FrozenTree tree)
    {
        Interruption.Check();
        process.Tracker?.Recognize(process);
        SavedPages? known = memory.EarlierPages(earlier, process); // of who was tracked until now
        if (IsTracking) Track(tree, process);
        PagePlan plan = memory.Plan(process, known, protect: IsTracking);
        if (known is not null) _written.AddRange(plan.Stored.Select(run => (process.Pid, run)));
        memory.Save(process, plan);
        process.Memory.Vmas.AddRange(plan.Guards); // behind the mappings that they lie in
    }

    private static void Track(FrozenTree tree, DumpProcess process)
    {
        if (process.Tracker is null) MemoryTracking.EndOthers(tree, process);
        process.Tracker ??= WriteTracker.TryCreate(process);
        process.Tracker?.Register(process);
    }

    /// <inheritdoc />
    public void Finish() => _common?.Finish();

    /// <inheritdoc />
    public void Dispose() => _common?.Dispose();
}
