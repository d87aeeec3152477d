namespace CriuPmem.Engine.Lazy;

/// <summary>The pages files, mapped into the pager: on persistent memory pages are copied straight from it.</summary>
internal sealed class PagerFiles : IPagerSource
{
    private readonly List<ulong> _maps = [];

    /// <inheritdoc />
    public ulong StepBytes => 2 << 20;

    /// <inheritdoc />
    public ulong FaultBytes => 64 << 10;

    /// <summary>Maps a file; returns its index.</summary>
    public int Add(int fd, ulong lengthBytes)
    {
        _maps.Add((ulong)Sys.Mmap(0, lengthBytes, PROT_READ, MAP_SHARED, fd, 0).OrThrow("mmap", "a pages file"));
        return _maps.Count - 1;
    }

    /// <inheritdoc />
    public bool Fill(PagerSpace space, PagerRun pages, bool stopAtFilled, out ulong done)
    {
        ulong from = _maps[(int)pages.File] + pages.Offset;
        Sys.Madvise(from, pages.LengthBytes, MADV_POPULATE_READ); // else the copying fails once for each page of the file
        return PagerCopy.Copy(space, pages.Start, from, pages.LengthBytes, stopAtFilled, out done);
    }
}
