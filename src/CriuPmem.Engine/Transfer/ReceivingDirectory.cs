using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>The images directory of a page server, and what its parent has.</summary>
internal sealed class ReceivingDirectory : IDisposable
{
    /// <summary>Where the numbers of pages files begin, as the peer's do: what else comes into the directory counts from 1.</summary>
    private const uint FirstPagesId = 0x10001;

    private readonly PageServerOptions _options;
    private readonly SnapshotWriter _snapshot;
    private readonly SnapshotReader _reader;
    private readonly SnapshotReader? _parent;
    private readonly SnapshotChain? _chain;
    private readonly List<ReceivedPages> _done = [];
    private uint _lastPagesId = FirstPagesId - 1;

    /// <summary>Looks at the directory.</summary>
    /// <exception cref="CheckpointException">It holds a snapshot, or its parent cannot be used.</exception>
    public ReceivingDirectory(PageServerOptions options)
    {
        _options = options;
        _snapshot = new SnapshotWriter(options.ImagesDirectoryFd, options.ImagesDirectory);
        _reader = new SnapshotReader(options.ImagesDirectoryFd, options.ImagesDirectory);
        if (_reader.LengthOf(ImageKind.Inventory) >= 0)
        {
            throw new CheckpointException(ErrorCode.ImagesDirectory, "the directory holds a complete snapshot, of which pages would be overwritten")
            {
                Object = options.ImagesDirectory,
                Remedy = "Give an empty directory with -D.",
            };
        }

        if (options.PreviousImages is { } previous) Link(previous);
        try
        {
            if (!_reader.TryOpenParent(out _parent)) return;
            _chain = new SnapshotChain(_parent);
        }
        catch
        {
            _parent?.Close();
            _snapshot.Abandon();
            throw;
        }
    }

    /// <summary>Bytes of contents that arrived.</summary>
    public long LengthBytes => _done.Sum(static pages => pages.LengthBytes);

    /// <summary>Objects that arrived.</summary>
    public int Objects => _done.Count;

    /// <summary>True when the parent has pages of an object.</summary>
    public bool IsInParent(PageTarget target) => _parent is not null && _parent.LengthOf(target.Kind, target.Id) >= 0;

    /// <summary>Begins an object; one that has begun before begins anew.</summary>
    public ReceivedPages Open(PageTarget target)
    {
        if (_done.Find(pages => pages.Target == target) is { } before)
        {
            before.Forget();
            _done.Remove(before);
        }

        SavedPages? earlier = null;
        using (ImageReader? image = _parent?.OpenIfPresent(target.Kind, target.Id))
        {
            if (image is not null) earlier = _chain!.ResolveKept(0, target.Kind, target.Id, Pagemap.Read(image));
        }

        // Another session may have left pages of other processes here.
        do _lastPagesId++;
        while (_reader.LengthOf(ImageKind.Pages, _lastPagesId) >= 0);
        var opened = new ReceivedPages(_snapshot, target, _lastPagesId, earlier);
        _done.Add(opened);
        return opened;
    }

    /// <summary>Makes durable what arrived: it stays.</summary>
    public void Keep()
    {
        _snapshot.KeepPart(_options.Sync);
        if (_options.AutoDedup) DedupJob.TryFreeEarlier(_options.ImagesDirectoryFd, _options.ImagesDirectory, _options.Log);
    }

    /// <summary>Removes what arrived, unless it is kept.</summary>
    public void Dispose()
    {
        _chain?.Dispose();
        _parent?.Close();
        _snapshot.Abandon();
    }

    private void Link(string previous)
    {
        if (Sys.ReadLink(_options.ImagesDirectoryFd, "parent", out _) == previous) return;
        _snapshot.LinkParent(previous);
    }
}
