using CriuPmem.Engine.Dump;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>The snapshot before, inside of the one that is made, in which pages lie that processes have in common.</summary>
internal sealed class CommonLayer : IDisposable
{
    private readonly OwnedFd _directory;
    private readonly SnapshotWriter _snapshot;
    private readonly PagesStore _store;
    private readonly DumpOptions _options;

    /// <summary>Makes it.</summary>
    public CommonLayer(SnapshotWriter snapshot, DumpOptions options)
    {
        _options = options;
        _snapshot = snapshot.BeginCommon(out int directoryFd);
        _directory = new OwnedFd(directoryFd);
        _store = new PagesStore(_snapshot, options, runsOn: options.FinalState == FinalState.Running);
    }

    /// <summary>Saves the pages of all groups.</summary>
    public void Save(MemoryDump memory, List<CommonPages.Group> groups)
    {
        uint pagesId = 1;
        foreach (CommonPages.Group group in groups) memory.SaveCommon(_store, group, pagesId++);
    }

    /// <summary>Completes it, before the one that continues it is complete.</summary>
    public void Finish(MemoryDump memory)
    {
        _store.Finish(memory.Copier);
        _snapshot.Commit(TreeWriter.Inventory(new SharedObjects().EngineIds, null, _options.Compression is not null), _options.Sync);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _store.Dispose();
        _directory.Dispose();
    }
}
