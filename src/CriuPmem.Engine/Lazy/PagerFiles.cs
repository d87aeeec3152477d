using CriuPmem.Engine.Memory;

namespace CriuPmem.Engine.Lazy;

/// <summary>The pages files, mapped into the pager: on persistent memory pages are copied straight from it. Of compressed ones some blocks are kept.</summary>
internal sealed unsafe class PagerFiles : IPagerSource, IDisposable
{
    private readonly List<(PagesContents Contents, bool Compressed)> _files = [];

    /// <inheritdoc />
    public ulong StepBytes => 2 << 20;

    /// <inheritdoc />
    public ulong FaultBytes => 64 << 10;

    /// <summary>Opens a file; returns its index.</summary>
    /// <param name="file">Its descriptor, which is taken over.</param>
    /// <param name="lengthBytes">Its length.</param>
    /// <param name="compressed">Its pages are compressed.</param>
    /// <param name="name">For messages.</param>
    public int Add(OwnedFd file, ulong lengthBytes, bool compressed, string name)
    {
        _files.Add((PagesContents.Open(file, lengthBytes, compressed, name), compressed));
        return _files.Count - 1;
    }

    /// <inheritdoc />
    public bool Fill(PagerSpace space, PagerRun pages, bool stopAtFilled, out ulong done)
    {
        (PagesContents contents, bool compressed) = _files[(int)pages.File];
        for (done = 0; done < pages.LengthBytes;)
        {
            ulong from = (ulong)contents.At(pages.Offset + done, pages.LengthBytes - done, out ulong part);
            if (!compressed) Sys.Madvise(from, part, MADV_POPULATE_READ); // else the copying fails once for each page of the file
            bool settled = PagerCopy.Copy(space, pages.Start + done, from, part, stopAtFilled, out ulong copied);
            done += copied;
            if (!settled || copied < part || space.IsGone) return settled;
        }

        return true;
    }

    /// <summary>Lets go of the files: who has them open keeps a dump from writing them again (--recycle), and their pages count as his.</summary>
    public void Dispose()
    {
        foreach ((PagesContents contents, _) in _files) contents.Dispose();
        _files.Clear();
    }
}
