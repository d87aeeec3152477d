using CriuPmem.Engine.Transfer;
using CriuPmem.Images;

namespace CriuPmem.Engine.Lazy;

/// <summary>Where a lazy-pages daemon takes pages from: the images, or the machine where the tree was.</summary>
internal sealed class LazyPagesSource : IDisposable
{
    private readonly SnapshotChain _chain;
    private readonly PagerFiles? _files;
    private readonly PagerServer? _server;
    private readonly Dictionary<PagesSource, int> _indices = [];

    /// <summary>Connects, where the pages are not here.</summary>
    public LazyPagesSource(LazyPagesOptions options, SnapshotChain chain)
    {
        _chain = chain;
        if (options.PageServer is { } remote)
        {
            ByteChannel channel = Endpoint.Connect(remote, "page server");
            options.Log.Info("lazy", $"pages come from {channel.Peer}");
            _server = new PagerServer(channel);
        }
        else
        {
            _files = new PagerFiles();
        }
    }

    /// <summary>The pages.</summary>
    public IPagerSource Pages => (IPagerSource?)_server ?? _files!;

    /// <summary>What is to be filled of a process, by its saved number; null when no such process was saved.</summary>
    public PagerRun[]? RunsOf(int pid)
    {
        using ImageReader? image = _chain.Layers[0].OpenIfPresent(ImageKind.Pagemap, pid);
        if (image is null) return null;
        SavedPages pages = _chain.Resolve(ImageKind.Pagemap, pid, Pagemap.Read(image));
        if (_server is not null) return [.. LazyRuns.Of(pages).Select(run => new PagerRun(run.Start, run.End, (ulong)pid, run.Start))];
        if (pages.Absent.Count > 0)
        {
            throw new CheckpointException(ErrorCode.ImageMissing, "memory of this process is not in the images: it was left with the dump (dump --lazy-pages)")
            {
                Pid = pid,
                Remedy = "Fetch it from there: give --page-server, with the --address and --port of that dump.",
            };
        }

        return [.. pages.Runs.Where(static run => (run.Flags & PageFlags.Lazy) != 0).Select(run => new PagerRun(run.Start, run.End, (ulong)IndexOf(pages.Files[run.File]), run.Offset))];
    }

    /// <summary>Looks whether the pages can still be had.</summary>
    /// <exception cref="CheckpointException">The machine where the tree was has ended the connection.</exception>
    public void Require()
    {
        if (_server is { IsGone: true }) throw _server.Lost();
    }

    /// <summary>All is filled.</summary>
    public void Finish() => _server?.Finish();

    /// <inheritdoc />
    public void Dispose() => _server?.Dispose();

    private int IndexOf(PagesSource file)
    {
        if (_indices.TryGetValue(file, out int index)) return index;
        var fd = new OwnedFd(file.Open(out long lengthBytes));
        _indices.Add(file, index = _files!.Add(fd, (ulong)lengthBytes, file.Compressed, file.Name));
        return index;
    }
}
