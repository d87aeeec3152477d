using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;
using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>Pages in files of the images directory: pagemap-PID.img, pagemap-shmem-ID.img and pages-N.img.</summary>
/// <param name="snapshot">The images in the making; it makes them durable.</param>
/// <param name="directory">The directory's name for messages.</param>
/// <param name="ids">Numbers the pages files.</param>
internal sealed class LocalPages(SnapshotWriter snapshot, string directory, PagesIds ids) : IPageStore
{
    private readonly PageCopier _copier = new();

    /// <inheritdoc />
    public bool Continues(int pid, SavedPages earlier) => earlier.Files.Count > 0;

    /// <inheritdoc />
    public long Save(DumpProcess process, PagePlan plan, bool running)
    {
        uint pagesId = ids.Next();
        using (var pagemap = new PagemapWriter(snapshot, ImageKind.Pagemap, process.Pid, pagesId))
        {
            foreach (PageRun run in plan.Runs) pagemap.Add(run.Start, run.LengthBytes / PageSize, (PageFlags)run.Flags);
        }

        using var pages = new OwnedFd(snapshot.OpenRaw(ImageKind.Pages, pagesId, truncate: true));
        return _copier.Copy(process, plan.Stored, pages.Fd, NameOf(pagesId), running);
    }

    /// <inheritdoc />
    public long SaveShared(DumpProcess process, uint id, List<PageRun> runs, int file)
    {
        uint pagesId = ids.Next();
        using (var pagemap = new PagemapWriter(snapshot, ImageKind.PagemapShmem, id, pagesId))
        {
            foreach (PageRun run in runs) pagemap.Add(run.Start, run.LengthBytes / PageSize, PageFlags.Present);
        }

        using var pages = new OwnedFd(snapshot.OpenRaw(ImageKind.Pages, pagesId, truncate: true));
        return _copier.CopyFile(process, runs, file, pages.Fd, NameOf(pagesId));
    }

    /// <inheritdoc />
    public void Finish()
    {
    }

    /// <inheritdoc />
    public void Dispose() => _copier.Dispose();

    private string NameOf(uint pagesId) => string.Create(CultureInfo.InvariantCulture, $"{directory}/{ImageKind.Pages.FileName(pagesId)}");
}
