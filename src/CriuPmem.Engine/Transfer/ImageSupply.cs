using CriuPmem.Engine.Memory;
using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>Pages of a snapshot that lies here (page-server --lazy-pages).</summary>
/// <param name="chain">The snapshot, and those that it continues.</param>
internal sealed class ImageSupply(SnapshotChain chain) : IPageSupply, IDisposable
{
    private readonly Dictionary<ulong, SavedPages?> _pages = [];
    private readonly Dictionary<PagesSource, OwnedFd> _files = [];
    private readonly Dictionary<PagesSource, PagesContents> _compressed = [];

    /// <inheritdoc />
    public ulong Available(ulong pid, ulong address, ulong most)
    {
        if (PagesOf(pid) is not { } pages) return 0;
        int at = pages.FirstAbove(address);
        return at == pages.Runs.Count || pages.Runs[at].Start > address ? 0 : Math.Min(most, (pages.Runs[at].End - address) / PageSize);
    }

    /// <inheritdoc />
    public void Read(ulong pid, ulong address, Span<byte> to)
    {
        SavedPages pages = PagesOf(pid)!;
        SavedRun run = pages.Runs[pages.FirstAbove(address)];
        PagesSource source = pages.Files[run.File];
        if (source.Compressed) ReadCompressed(source, run.Offset + (address - run.Start), to);
        else Read(source, (long)(run.Offset + (address - run.Start)), to);
    }

    private void Read(PagesSource source, long offset, Span<byte> to)
    {
        if (!_files.TryGetValue(source, out OwnedFd? file)) _files.Add(source, file = new OwnedFd(source.Open(out _)));
        for (int done = 0; done < to.Length;)
        {
            int read = (int)Sys.PRead(file.Fd, to[done..], offset + done).OrThrow("pread", source.Name);
            if (read == 0) throw new CheckpointException(ErrorCode.ImageDamaged, "the image became shorter while it was read") { Object = source.Name };
            done += read;
        }
    }

    private unsafe void ReadCompressed(PagesSource source, ulong offset, Span<byte> to)
    {
        if (!_compressed.TryGetValue(source, out PagesContents? contents)) _compressed.Add(source, contents = PagesContents.Open(source));
        for (int done = 0; done < to.Length;)
        {
            byte* from = contents.At(offset + (ulong)done, (ulong)(to.Length - done), out ulong part);
            new ReadOnlySpan<byte>(from, (int)part).CopyTo(to[done..]);
            done += (int)part;
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (OwnedFd file in _files.Values) file.Dispose();
        foreach (PagesContents contents in _compressed.Values) contents.Dispose();
    }

    private SavedPages? PagesOf(ulong pid)
    {
        if (_pages.TryGetValue(pid, out SavedPages? pages)) return pages;
        if (pid is 0 or > int.MaxValue) return null;
        using ImageReader? image = chain.Layers[0].OpenIfPresent(ImageKind.Pagemap, (long)pid);
        pages = image is null ? null : chain.Resolve(ImageKind.Pagemap, (long)pid, Pagemap.Read(image));
        if (pages is not null) _pages.Add(pid, pages); // what does not exist must not fill memory
        return pages;
    }
}
