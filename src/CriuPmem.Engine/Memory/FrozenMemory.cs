using CriuPmem.Engine.Dump;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Copies all memory while the tree stands still; of a snapshot in a chain, what was written since the one before.</summary>
internal sealed class FrozenMemory(DumpOptions options, MemoryDump memory, EarlierSnapshot? earlier) : IMemorySaver
{
    private long _sharedPages;

    /// <inheritdoc />
    public (long Written, long InParent, long Scanned) Pages => (memory.WrittenPages + _sharedPages, memory.ParentPages, memory.ScannedPages);

    /// <inheritdoc />
    public void Prepare()
    {
    }

    /// <inheritdoc />
    public void Save(FrozenTree tree, DumpContext context)
    {
        bool track = options.TrackMemory && options.FinalState != FinalState.Killed;
        foreach (DumpProcess process in tree.MemoryOwners)
        {
            Interruption.Check();
            process.Tracker?.Recognize(process);
            SavedPages? known = earlier?.PagesOf(process);
            if (track) Track(tree, process);
            PagePlan plan = memory.Plan(process, known, protect: track);
            memory.Save(process, plan);
            process.Memory.Vmas.AddRange(plan.Guards); // behind the mappings that they lie in
        }

        _sharedPages = context.SharedMemory.Save(memory.Copier);
    }

    private static void Track(FrozenTree tree, DumpProcess process)
    {
        if (process.Tracker is null) MemoryTracking.EndOthers(tree, process);
        process.Tracker ??= WriteTracker.TryCreate(process);
        process.Tracker?.Register(process);
    }

    /// <inheritdoc />
    public void Finish()
    {
    }

    /// <inheritdoc />
    public void Dispose()
    {
    }
}
