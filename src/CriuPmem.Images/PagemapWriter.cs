using CriuPmem.Images.Messages;

namespace CriuPmem.Images;

/// <summary>Writes a page map: runs of pages in address order, of which neighbours become one.</summary>
/// <remarks>
/// As the peer (4.2) does, the count is in <c>nr_pages</c>, and <c>compat_nr_pages</c>, which older readers used and
/// which is required, is 0.
/// </remarks>
internal sealed class PagemapWriter : IDisposable
{
    private const int PageShift = 12;

    private readonly ImageWriter _image;
    private readonly PagemapEntry _entry = new() { CompatNrPages = 0 };
    private ulong _address;
    private ulong _pages;
    private PageFlags _flags;

    /// <summary>Starts a page map.</summary>
    /// <param name="snapshot">The snapshot it belongs to.</param>
    /// <param name="kind"><see cref="ImageKind.Pagemap"/> or <see cref="ImageKind.PagemapShmem"/>.</param>
    /// <param name="id">The process, or the shared segment.</param>
    /// <param name="pagesId">The number of the pages file.</param>
    /// <param name="compressed">It is compressed.</param>
    public PagemapWriter(SnapshotWriter snapshot, ImageKind kind, long id, uint pagesId, bool compressed = false)
    {
        _image = snapshot.Create(kind, id);
        var head = new PagemapHead { PagesId = pagesId };
        if (compressed) head.Compressed = true;
        _image.Add(head);
    }

    /// <summary>Pages that are in the pages file so far: the next one's place in it.</summary>
    public ulong PresentPages { get; private set; }

    /// <summary>Adds a run; one that goes on where the last ended, with the same flags, makes that one longer.</summary>
    /// <param name="address">Address in the process (or offset in the segment), a multiple of 4096, ascending.</param>
    /// <param name="pages">How many pages.</param>
    /// <param name="flags">Where they are.</param>
    public void Add(ulong address, ulong pages, PageFlags flags)
    {
        if (pages == 0) return;
        if ((address & ((1UL << PageShift) - 1)) != 0 || address < End)
        {
            throw new ArgumentOutOfRangeException(nameof(address), address, "not page-aligned, or not ascending");
        }

        if ((flags & PageFlags.Present) != 0) PresentPages += pages;
        if (_pages != 0 && address == End && flags == _flags)
        {
            _pages += pages;
            return;
        }

        Flush();
        _address = address;
        _pages = pages;
        _flags = flags;
    }

    /// <summary>Writes what is left and closes the file.</summary>
    public void Dispose()
    {
        try
        {
            Flush();
        }
        finally
        {
            _image.Dispose();
        }
    }

    private ulong End => _address + (_pages << PageShift);

    private void Flush()
    {
        if (_pages == 0) return;
        _entry.Vaddr = _address;
        _entry.Flags = (uint)_flags;
        _entry.NrPages = _pages;
        _address = End;
        _pages = 0;
        _image.Add(_entry);
    }
}
