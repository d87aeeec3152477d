using CriuPmem.Engine.Dump;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>The snapshot before, inside of the one that is made, in which pages lie that processes have in common.</summary>
internal sealed class CommonLayer : IDisposable
{
    private readonly OwnedFd _directory;
    private readonly SnapshotWriter _snapshot;
    private readonly PagesOutput _output;
    private readonly PageCopier _copier = new();
    private readonly DumpOptions _options;

    /// <summary>Makes it.</summary>
    public CommonLayer(SnapshotWriter snapshot, DumpOptions options)
    {
        _options = options;
        _snapshot = snapshot.BeginCommon(out int directoryFd);
        _directory = new OwnedFd(directoryFd);
        _output = new PagesOutput(_snapshot, options, new PagesIds(), runsOn: options.FinalState == FinalState.Running);
    }

    /// <summary>Saves the pages of all groups, each of which has one pages file; returns how many.</summary>
    public long Save(List<CommonPages.Group> groups) => groups.Sum(Save);

    /// <summary>Completes it, before the one that continues it is complete.</summary>
    public void Finish()
    {
        _output.Finish(_copier);
        _snapshot.Commit(TreeWriter.Inventory(new SharedObjects().EngineIds, null, _options.Compression is not null, earlier: null), _options.Sync);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _output.Dispose();
        _copier.Dispose();
        _directory.Dispose();
    }

    private long Save(CommonPages.Group group)
    {
        uint pagesId = _output.NextId();
        foreach ((DumpProcess process, _) in group.Members)
        {
            using PagemapWriter pagemap = _output.NewMap(ImageKind.Pagemap, process.Pid, pagesId);
            foreach (PageRun run in group.Stored) pagemap.Add(run.Start, run.LengthBytes / PageSize, (PageFlags)run.Flags);
        }

        return _output.Save(_copier, group.Source, group.Stored, pagesId);
    }
}
