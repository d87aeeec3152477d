using CriuPmem.Images.Messages;
using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>A snapshot and those that it continues ("parent" in each directory leads to the one before).</summary>
/// <remarks>
/// A page map says of pages that nobody has written since the last round only that they are in the parent:
/// <code>
/// DIR/            pagemap: 0-3 in parent, 4 here        pages: 4'
/// DIR/parent/     pagemap: 0-1 here, 2-4 in parent      pages: 0 1
/// …/parent/       pagemap: 0-4 here                     pages: 0 1 2 3 4      →  0 1 | 2 3 | 4'
/// </code>
/// Resolving follows them down, and says of each run in which file it lies.
/// </remarks>
internal sealed class SnapshotChain : IDisposable
{
    private const int MaxLayers = 4096;

    private readonly List<SnapshotReader> _layers;
    private readonly List<SnapshotReader> _opened = [];
    private readonly Dictionary<PagesSource, FreedPages> _freed = [];

    /// <summary>Opens the chain from its newest snapshot on.</summary>
    /// <exception cref="CheckpointException">A parent is missing, or leads in a circle.</exception>
    public SnapshotChain(SnapshotReader newest)
    {
        _layers = [newest];
        try
        {
            while (_layers[^1].TryOpenParent(out SnapshotReader? parent))
            {
                _opened.Add(parent);
                if (_layers.Exists(layer => layer.IsSameDirectory(parent)) || _layers.Count == MaxLayers)
                {
                    throw parent.Damaged("parent", "the chain of parents leads in a circle, or is longer than any can be");
                }

                CheckIsTheOne(_layers[^1], parent);
                _layers.Add(parent);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>A snapshot leads to the one that it continues by the name of a directory, in which another may lie by now.</summary>
    private static void CheckIsTheOne(SnapshotReader later, SnapshotReader parent)
    {
        if (later.LengthOf(ImageKind.Inventory) < 0 || parent.LengthOf(ImageKind.Inventory) < 0) return;
        string wanted = later.ReadSingle<InventoryEntry>(ImageKind.Inventory).ParentRunId, found = parent.ReadSingle<InventoryEntry>(ImageKind.Inventory).DumpCriuRunId;
        if (wanted.Length == 0 || wanted == found) return; // the peer does not say
        throw new CheckpointException(ErrorCode.ImageMissing, "the snapshot that this one continues was replaced by another: its memory would be put together from two moments")
        {
            Object = parent.DirectoryName,
            Remedy = "Restore another snapshot, or bring back the one that was there when this was made.",
        };
    }

    /// <summary>The snapshots, the newest first.</summary>
    public IReadOnlyList<SnapshotReader> Layers => _layers;

    /// <summary>The saved pages of an object, by its page map in the newest snapshot.</summary>
    /// <param name="kind"><see cref="ImageKind.Pagemap"/> or <see cref="ImageKind.PagemapShmem"/>.</param>
    /// <param name="id">The number in the page map's name.</param>
    /// <param name="newest">That page map.</param>
    /// <exception cref="CheckpointException">Pages are missing in a parent, or were freed for a later snapshot.</exception>
    public SavedPages Resolve(ImageKind kind, long id, Pagemap newest)
    {
        SavedPages pages = ResolveFrom(0, kind, id, newest);
        if (_freed.Count == 0) return pages;
        for (int file = 0; file < pages.Files.Count; file++)
        {
            if (!_freed.TryGetValue(pages.Files[file], out FreedPages? freed)) continue;
            ulong gone = pages.Runs.Where(run => run.File == file).Aggregate(0UL, (sum, run) => sum + freed.BytesIn(run));
            if (gone > 0) throw Freed(pages.Files[file], freed, kind, id, gone);
        }

        return pages;
    }

    /// <summary>As <see cref="Resolve(ImageKind,long,Pagemap)"/>, without the pages that were freed for a later snapshot.</summary>
    /// <param name="layer">Which of <see cref="Layers"/>; the page map is of that one.</param>
    /// <param name="kind">As above.</param>
    /// <param name="id">As above.</param>
    /// <param name="map">The page map there.</param>
    public SavedPages ResolveKept(int layer, ImageKind kind, long id, Pagemap map)
    {
        SavedPages pages = ResolveFrom(layer, kind, id, map);
        if (_freed.Count == 0) return pages;
        return pages with { Runs = [.. pages.Runs.SelectMany(run => _freed.TryGetValue(pages.Files[run.File], out FreedPages? freed) ? freed.Kept(run) : [run])] };
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (SnapshotReader reader in _opened) reader.Close();
        _opened.Clear();
    }

    private SavedPages ResolveFrom(int layer, ImageKind kind, long id, Pagemap map)
    {
        var files = new List<PagesSource>();
        var absent = map.Entries.Where(static entry => Pagemap.FlagsOf(entry) == PageFlags.Lazy)
            .Select(static entry => (entry.Vaddr, entry.Vaddr + Pagemap.PagesOf(entry) * Pagemap.PageBytes));
        return new SavedPages(files, Resolve(kind, id, map, layer, files)) { Absent = [.. absent] };
    }

    private List<SavedRun> Resolve(ImageKind kind, long id, Pagemap map, int layer, List<PagesSource> files)
    {
        int file = files.Count;
        files.Add(new PagesSource(_layers[layer], map.Head.PagesId, map.Head.Compressed));
        var runs = new List<SavedRun>(map.Entries.Count);
        SavedPages? older = null;
        ulong offset = 0, last = 0;
        foreach (PagemapEntry entry in map.Entries)
        {
            ulong start = entry.Vaddr, bytes = Pagemap.PagesOf(entry) * Pagemap.PageBytes;
            PageFlags flags = Pagemap.FlagsOf(entry);
            if (start < last || start + bytes < start) throw _layers[layer].Damaged(kind.FileName(id), $"0x{start:x} is out of order");
            last = start + bytes;
            if ((flags & PageFlags.Present) != 0)
            {
                runs.Add(new SavedRun(start, bytes, flags & ~PageFlags.Parent, file, offset));
                offset += bytes;
            }
            else if ((flags & PageFlags.Parent) != 0)
            {
                older ??= Older(kind, id, layer, files);
                Take(older, start, bytes, runs, kind, id, layer);
            }
        }

        CheckLength(files[file], offset);
        return runs;
    }

    private SavedPages Older(ImageKind kind, long id, int layer, List<PagesSource> files)
    {
        if (layer + 1 >= _layers.Count) throw _layers[layer].Damaged(kind.FileName(id), "pages in a parent snapshot, to which no \"parent\" leads");
        using ImageReader image = _layers[layer + 1].Open(kind, id);
        return new SavedPages(files, Resolve(kind, id, Pagemap.Read(image), layer + 1, files));
    }

    private void Take(SavedPages older, ulong start, ulong bytes, List<SavedRun> runs, ImageKind kind, long id, int layer)
    {
        ulong at = start;
        foreach (SavedRun part in older.Slice(start, start + bytes))
        {
            if (part.Start != at) break;
            runs.Add(part);
            at = part.End;
        }

        if (at == start + bytes) return;
        throw _layers[layer + 1].Damaged(kind.FileName(id), $"the page at 0x{at:x} is missing, which a later snapshot leaves to this one");
    }

    private void CheckLength(PagesSource file, ulong neededBytes)
    {
        if (neededBytes == 0) return;
        long lengthBytes = file.Reader.PagesBytes(file.PagesId, file.Compressed);
        if (lengthBytes >= 0 && (ulong)lengthBytes >= neededBytes)
        {
            if (!file.Compressed && FreedPages.MayBeIn(lengthBytes) && file.ReadFreed() is { } freed) _freed[file] = freed;
            return;
        }

        throw file.Reader.Damaged(file.Name, lengthBytes < 0 ? "the image is missing" : $"{lengthBytes} bytes, where its page map counts {neededBytes}");
    }

    private static CheckpointException Freed(PagesSource file, FreedPages freed, ImageKind kind, long id, ulong bytes) =>
        new(ErrorCode.ImageMissing, $"{bytes >> 10} KiB of memory are no longer in this snapshot: they were freed when a later one had saved them anew (dedup, --auto-dedup)")
        {
            Object = $"{file.Reader.DirectoryName}/{file.Name}",
            Pid = kind == ImageKind.Pagemap ? (int)id : 0,
            Remedy = $"Restore the later one ({freed.Later}), or a copy of this one that was made before.",
        };
}
