using CriuPmem.Engine.Restore;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>A process's saved pages, mapped read-only into the engine to be compared.</summary>
internal sealed unsafe class PagesFile : IDisposable
{
    private readonly SavedPages _pages;
    private readonly (ulong Start, ulong LengthBytes)[] _maps; // by file

    private PagesFile(SavedPages pages)
    {
        _pages = pages;
        _maps = new (ulong, ulong)[pages.Files.Count];
    }

    /// <summary>Maps the pages of a process; null when it has none.</summary>
    public static PagesFile? TryOpen(RestoreContext context, RestoreProcess process)
    {
        if (context.PagesOf(process) is not { Runs.Count: > 0 } pages) return null;
        var file = new PagesFile(pages);
        for (int i = 0; i < pages.Files.Count; i++)
        {
            int fd = pages.Files[i].Open(out long lengthBytes);
            SysResult mapped = lengthBytes == 0 ? default : Sys.Mmap(0, (ulong)lengthBytes, PROT_READ, MAP_SHARED, fd, 0);
            Sys.Close(fd);
            if (lengthBytes != 0) file._maps[i] = ((ulong)mapped.OrThrow("mmap", pages.Files[i].Name), (ulong)lengthBytes);
        }

        return file;
    }

    /// <summary>The runs of pages, in ascending order.</summary>
    public IReadOnlyList<SavedRun> Runs => _pages.Runs;

    /// <summary>The page at an address within a run.</summary>
    public ReadOnlySpan<byte> PageAt(SavedRun run, ulong address) => new((byte*)_maps[run.File].Start + run.Offset + (address - run.Start), (int)PageSize);

    /// <summary>The page at an address of the process; false when it was not saved.</summary>
    public bool TryFind(ulong address, out ReadOnlySpan<byte> page)
    {
        int at = _pages.FirstAbove(address);
        bool found = at < Runs.Count && Runs[at].Start <= address;
        page = found ? PageAt(Runs[at], address) : default;
        return found;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach ((ulong start, ulong lengthBytes) in _maps)
        {
            if (lengthBytes != 0) Sys.Munmap(start, lengthBytes);
        }
    }
}
