using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;
using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>Pages in files of the images directory: pagemap-PID.img, pagemap-shmem-ID.img and pages files.</summary>
/// <param name="output">The files; it is the caller's.</param>
internal sealed class LocalPages(PagesOutput output) : IPageStore
{
    private readonly PageCopier _copier = new();

    /// <inheritdoc />
    public bool Continues(int pid, SavedPages earlier) => earlier.Files.Count > 0;

    /// <inheritdoc />
    public long Save(DumpProcess process, PagePlan plan, bool running)
    {
        uint pagesId = output.NextId();
        using (PagemapWriter pagemap = output.NewMap(ImageKind.Pagemap, process.Pid, pagesId))
        {
            foreach (PageRun run in plan.Runs) pagemap.Add(run.Start, run.LengthBytes / PageSize, (PageFlags)run.Flags);
        }

        return output.Save(_copier, process, plan.Stored, pagesId, running);
    }

    /// <inheritdoc />
    public long SaveShared(DumpProcess process, uint id, List<PageRun> runs, int file)
    {
        uint pagesId = output.NextId();
        using (PagemapWriter pagemap = output.NewMap(ImageKind.PagemapShmem, id, pagesId))
        {
            foreach (PageRun run in runs) pagemap.Add(run.Start, run.LengthBytes / PageSize, PageFlags.Present);
        }

        return output.SaveFile(_copier, process, runs, file, pagesId);
    }

    /// <inheritdoc />
    public void Finish() => output.Finish(_copier);

    /// <inheritdoc />
    public void Dispose() => _copier.Dispose();
}
