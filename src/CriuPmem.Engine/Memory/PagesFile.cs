using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Memory;

/// <summary>A process's saved pages, mapped read-only into the engine to be compared.</summary>
internal sealed unsafe class PagesFile : IDisposable
{
    private readonly byte* _start;
    private readonly ulong _lengthBytes;
    private readonly (ulong Start, ulong End, ulong Offset)[] _runs;

    private PagesFile(byte* start, ulong lengthBytes, (ulong, ulong, ulong)[] runs)
    {
        _start = start;
        _lengthBytes = lengthBytes;
        _runs = runs;
    }

    /// <summary>Maps the pages of a process; null when it has none.</summary>
    public static PagesFile? TryOpen(RestoreContext context, RestoreProcess process)
    {
        if (!context.Contents.Pagemaps.TryGetValue((uint)process.Pid, out Pagemap? pagemap)) return null;
        var runs = new List<(ulong, ulong, ulong)>();
        ulong offset = 0;
        foreach (PagemapEntry entry in pagemap.Entries)
        {
            if ((Pagemap.FlagsOf(entry) & PageFlags.Present) == 0) continue;
            ulong bytes = Pagemap.PagesOf(entry) * PageSize;
            runs.Add((entry.Vaddr, entry.Vaddr + bytes, offset));
            offset += bytes;
        }

        if (offset == 0) return null;
        int fd = context.Reader.OpenRaw(ImageKind.Pages, pagemap.Head.PagesId, out _);
        SysResult mapped = Sys.Mmap(0, offset, PROT_READ, MAP_SHARED, fd, 0);
        Sys.Close(fd);
        return new PagesFile((byte*)mapped.OrThrow("mmap", ImageKind.Pages.FileName(pagemap.Head.PagesId)), offset, [.. runs]);
    }

    /// <summary>The runs of pages: first address, address after the last, place in the file.</summary>
    public ReadOnlySpan<(ulong Start, ulong End, ulong Offset)> Runs => _runs;

    /// <summary>A page by its place in the file.</summary>
    public ReadOnlySpan<byte> PageAt(ulong offset) => new(_start + offset, (int)PageSize);

    /// <summary>The page at an address of the process; false when it was not saved.</summary>
    public bool TryFind(ulong address, out ReadOnlySpan<byte> page)
    {
        int low = 0, high = _runs.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_runs[middle].End <= address) low = middle + 1;
            else high = middle;
        }

        bool found = low < _runs.Length && _runs[low].Start <= address;
        page = found ? PageAt(_runs[low].Offset + (address - _runs[low].Start)) : default;
        return found;
    }

    /// <inheritdoc />
    public void Dispose() => Sys.Munmap((ulong)_start, _lengthBytes);
}
