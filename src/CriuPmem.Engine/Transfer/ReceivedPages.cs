using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>The page map and pages file of one object, as a page server writes them.</summary>
internal sealed class ReceivedPages : IDisposable
{
    private readonly PagemapWriter _map;
    private readonly OwnedFd _pages;
    private readonly SnapshotWriter _snapshot;
    private readonly uint _pagesId;
    private ulong _end;

    /// <summary>Begins an object.</summary>
    /// <param name="snapshot">The directory.</param>
    /// <param name="target">The object.</param>
    /// <param name="pagesId">The number of its pages file.</param>
    /// <param name="earlier">What the parent has of it; null when nothing.</param>
    public ReceivedPages(SnapshotWriter snapshot, PageTarget target, uint pagesId, SavedPages? earlier)
    {
        _snapshot = snapshot;
        _pagesId = pagesId;
        Target = target;
        Earlier = earlier;
        _pages = new OwnedFd(snapshot.OpenRaw(ImageKind.Pages, pagesId, truncate: true));
        try
        {
            _map = new PagemapWriter(snapshot, target.Kind, target.Id, pagesId);
        }
        catch
        {
            _pages.Dispose();
            throw;
        }
    }

    /// <summary>The object.</summary>
    public PageTarget Target { get; }

    /// <summary>What the parent has of it; null when nothing.</summary>
    public SavedPages? Earlier { get; }

    /// <summary>Bytes of contents so far.</summary>
    public long LengthBytes { get; private set; }

    /// <summary>Adds pages to the map; false when they are out of order.</summary>
    public bool TryAdd(PageMessage message)
    {
        if (message.Address < _end) return false;
        _end = message.End;
        _map.Add(message.Address, message.Pages, message.Flags);
        return true;
    }

    /// <summary>Adds contents.</summary>
    public void Write(ReadOnlySpan<byte> bytes)
    {
        SysResult written = ImageFileCalls.WriteFully(_pages.Fd, bytes);
        if (written.Failed) throw _snapshot.Failure("write", ImageKind.Pages.FileName(_pagesId), written.Errno, bytes.Length, LengthBytes);
        LengthBytes += bytes.Length;
    }

    /// <summary>Throws away the pages file: the object begins anew, with another one.</summary>
    public void Forget()
    {
        Dispose();
        _snapshot.Remove(ImageKind.Pages, _pagesId);
    }

    /// <summary>True when the parent has all of a range.</summary>
    public bool IsInParent(ulong start, ulong end)
    {
        if (Earlier is null) return false;
        ulong at = start;
        foreach (SavedRun run in Earlier.Slice(start, end))
        {
            if (run.Start != at) return false;
            at = run.End;
        }

        return at == end;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _pages.Dispose();
        _map.Dispose();
    }
}
