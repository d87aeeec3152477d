using CriuPmem.Engine.Dump;

namespace CriuPmem.Engine.Memory;

/// <summary>A way of saving the memory of a tree: what is done before it stands still, while it does, and afterwards.</summary>
internal interface IMemorySaver : IDisposable
{
    /// <summary>Pages written; pages left to an earlier snapshot; pages looked at.</summary>
    (long Written, long InParent, long Scanned) Pages { get; }

    /// <summary>What the tree is known to have written, the latest first, by process.</summary>
    IEnumerable<(int Pid, PageRun Run)> WrittenLately => [];

    /// <summary>Does what can be done while the tree runs.</summary>
    void Prepare();

    /// <summary>The tree stands still now; nothing else is known of it yet.</summary>
    void Begin(FrozenTree tree)
    {
    }

    /// <summary>Saves a process ahead of <see cref="Save"/>, on the side thread, where that costs little if the dump is refused later.</summary>
    /// <returns>True when it does.</returns>
    bool TrySaveAhead(DumpContext context, DumpProcess process) => false;

    /// <summary>Does what must be done while the tree stands still; everything else about it is known by now.</summary>
    void Save(FrozenTree tree, DumpContext context);

    /// <summary>Does the rest: nothing of it needs the tree any more.</summary>
    void Finish();
}
