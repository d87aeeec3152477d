using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>A pages file of a snapshot, or of one that it continues.</summary>
/// <param name="Reader">The snapshot that has it.</param>
/// <param name="PagesId">The number in its name.</param>
/// <param name="Compressed">Its pages are compressed.</param>
internal sealed record PagesSource(SnapshotReader Reader, uint PagesId, bool Compressed = false)
{
    /// <summary>Its name in that directory.</summary>
    public string Name => Kind.FileName(PagesId);

    private ImageKind Kind => Compressed ? ImageKind.CompressedPages : ImageKind.Pages;

    /// <summary>Opens it for reading.</summary>
    /// <param name="lengthBytes">Its length.</param>
    /// <returns>A descriptor that the caller owns.</returns>
    public int Open(out long lengthBytes) => Reader.OpenRaw(Kind, PagesId, out lengthBytes);

    /// <summary>Opens it for having holes made into it; the caller owns the descriptor.</summary>
    public int OpenToPunch() => Reader.OpenToPunch(PagesId);

    /// <summary>Which of its pages were freed for a later snapshot; null when none were.</summary>
    public FreedPages? ReadFreed()
    {
        using var file = new OwnedFd(Open(out long lengthBytes));
        return FreedPages.Read(file.Fd, lengthBytes);
    }
}
