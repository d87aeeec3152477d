using CriuPmem.Engine.Restore;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>A process's saved pages, to be compared.</summary>
internal sealed unsafe class PagesFile : IDisposable
{
    private readonly SavedPages _pages;
    private readonly PagesContents[] _contents; // by file

    private PagesFile(SavedPages pages)
    {
        _pages = pages;
        _contents = [.. pages.Files.Select(static file => PagesContents.Open(file))];
    }

    /// <summary>Maps the pages of a process; null when it has none.</summary>
    public static PagesFile? TryOpen(RestoreContext context, RestoreProcess process)
    {
        if (context.PagesOf(process) is not { Runs.Count: > 0 } pages) return null;
        return new PagesFile(pages);
    }

    /// <summary>The runs of pages, in ascending order.</summary>
    public IReadOnlyList<SavedRun> Runs => _pages.Runs;

    /// <summary>The page at an address within a run, for as long as no other is asked for.</summary>
    public ReadOnlySpan<byte> PageAt(SavedRun run, ulong address) =>
        new(_contents[run.File].At(run.Offset + (address - run.Start), PageSize, out _), (int)PageSize);

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
        foreach (PagesContents contents in _contents) contents.Dispose();
    }
}
