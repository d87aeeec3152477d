using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Transfer;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Stands the tree still for as long as it takes to fork copy-on-write twins of its processes, and saves memory from those.</summary>
/// <remarks>
/// <code>
/// tree        runs ── still: fork ── runs ───────────────────
/// twins                   └───────── read ─► pages-N.img, end
/// </code>
/// For programs that write faster than it can be copied, and for huge pages, of which a fork copies little. What a fork does
/// not take along is copied while the tree stands still: shared memory, MADV_DONTFORK, MADV_WIPEONFORK; and processes with
/// little memory, which are copied faster than forked. Pages into which a device writes the kernel copies at the fork.
/// </remarks>
internal sealed class TwinMemory(DumpOptions options, PagesOutput output) : IMemorySaver
{
    /// <summary>Processes with less memory than this are copied, in bytes.</summary>
    private const ulong WorthwhileBytes = 1 << 20;

    private readonly PagePlanner _planner = new();
    private readonly PageCopier _copier = new();
    private readonly List<Copy> _copies = [];
    private long _writtenPages, _sharedPages;

    /// <inheritdoc />
    public (long Written, long InParent, long Scanned) Pages => (_writtenPages + _sharedPages, 0, _planner.ScannedPages);

    /// <inheritdoc />
    public void Prepare()
    {
    }

    /// <inheritdoc />
    public void Save(FrozenTree tree, DumpContext context)
    {
        foreach (DumpProcess process in tree.MemoryOwners)
        {
            Interruption.Check();
            bool large = process.Leader.Status.AnonymousKib >= WorthwhileBytes >> 10;
            var copy = new Copy(process, large ? Twin.TryMake(process, options.Log) : null);
            _copies.Add(copy);
            CopyNow(copy);
        }

        using var shared = new LocalPages(output);
        _sharedPages = context.SharedMemory.Save(shared);
    }

    /// <inheritdoc />
    public void Finish()
    {
        foreach (Copy copy in _copies)
        {
            Interruption.Check();
            Save(copy);
            copy.Twin?.Dispose();
            copy.Twin = null;
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (Copy copy in _copies)
        {
            copy.Twin?.Dispose();
            copy.Buffer?.Dispose();
        }

        _planner.Dispose();
        _copier.Dispose();
    }

    /// <summary>Copies what the twin does not have.</summary>
    private void CopyNow(Copy copy)
    {
        DumpProcess process = copy.Process;
        PagePlan plan = PlanNow(copy);
        long bytes = plan.Stored.Sum(run => (long)run.LengthBytes);
        copy.Buffer = bytes == 0 ? null : RestBuffer.TryCreate(bytes, exactly: true);
        if (bytes != 0 && copy.Buffer is null && copy.Twin is not null)
        {
            // Too much for memory (guest memory of a virtual machine, say): all goes straight into the pages file, in order.
            options.Log.Info("twin", $"{process}: a fork does not copy {bytes >> 20} MiB of its memory, so all is copied while it stands still");
            copy.Twin.Dispose();
            copy.Twin = null;
            plan = PlanNow(copy);
        }

        process.Memory.Vmas.AddRange(plan.Guards); // behind the mappings that they lie in
        copy.Now = plan.Stored;
        if (copy.Buffer is not null) _copier.Copy(process, copy.Now, copy.Buffer.TryTake(bytes));
        else if (copy.Twin is null) Save(copy);
    }

    /// <summary>Plans what is copied while the tree stands still.</summary>
    private PagePlan PlanNow(Copy copy)
    {
        DumpProcess process = copy.Process;
        // A view of the process with those mappings alone.
        var rest = new DumpProcess(process.Pid, process.Proc, process.Stat);
        rest.Mappings.AddRange(process.Mappings);
        rest.Memory.Vmas.AddRange(copy.Twin is null ? process.Memory.Vmas : process.Memory.Vmas.Where(vma => !Twin.Holds(vma)));
        return _planner.Plan(rest, null, protect: false, running: false);
    }

    /// <summary>Writes the images of one process.</summary>
    private void Save(Copy copy)
    {
        if (copy.IsSaved) return;
        copy.IsSaved = true;
        List<(PageRun Run, bool FromTwin)> runs = Runs(copy);
        uint pagesId = output.NextId();
        using (PagemapWriter pagemap = output.NewMap(ImageKind.Pagemap, copy.Process.Pid, pagesId))
        {
            foreach ((PageRun run, _) in runs) pagemap.Add(run.Start, run.LengthBytes / PageSize, (PageFlags)run.Flags);
        }

        using OwnedFd pages = output.Open(copy.Process, pagesId, runs.Sum(static run => (long)run.Run.LengthBytes));
        string name = output.NameOf(pagesId);
        ulong buffered = 0;
        long offset = 0;
        for (int i = 0; i < runs.Count;)
        {
            bool fromTwin = runs[i].FromTwin;
            var part = new List<PageRun>();
            for (; i < runs.Count && runs[i].FromTwin == fromTwin; i++) part.Add(runs[i].Run);
            long bytes = part.Sum(run => (long)run.LengthBytes);
            if (fromTwin) CopyFrom(copy.Twin!, copy.Process, part, pages.Fd, name, offset);
            else if (copy.Buffer is { } buffer) RestBuffer.Write(copy.Process, buffer.Start + buffered, bytes, pages.Fd, offset, name);
            else _copier.Copy(copy.Process, part, pages.Fd, name, offset: offset);
            if (!fromTwin) buffered += (ulong)bytes;
            offset += bytes;
        }

        _writtenPages += offset / (long)PageSize;
    }

    private void CopyFrom(Twin twin, DumpProcess process, List<PageRun> runs, int file, string name, long offset)
    {
        try
        {
            _copier.Copy(twin.Process, runs, file, name, offset: offset);
        }
        catch (CheckpointException) when (!twin.IsAlive)
        {
            throw process.Fail(
                ErrorCode.Vanished, $"the twin that held its memory ({twin.Process.Pid}) was killed while it was saved: by the kernel, when memory is short",
                "Make room in memory or raise the limit of its control group, or give --live=copy");
        }
    }

    /// <summary>All runs of a process in ascending order.</summary>
    private List<(PageRun Run, bool FromTwin)> Runs(Copy copy)
    {
        var runs = copy.Now.ConvertAll(run => (Run: run, FromTwin: false));
        if (copy.Twin is not { } twin) return runs;
        PagePlan plan = _planner.Plan(twin.Process, null, protect: false, running: false);
        copy.Process.Memory.Vmas.AddRange(plan.Guards);
        // All pages of a twin are shared with its original, and process_vm_readv(2) would copy each of them first.
        runs.AddRange(plan.Stored.Select(run => (run with { Carefully = true }, true)));
        runs.Sort((a, b) => a.Run.Start.CompareTo(b.Run.Start));
        return runs;
    }

    /// <summary>The memory of one process.</summary>
    private sealed class Copy(DumpProcess process, Twin? twin)
    {
        public DumpProcess Process => process;

        public Twin? Twin { get; set; } = twin;

        /// <summary>What is copied while the tree stands still.</summary>
        public List<PageRun> Now { get; set; } = [];

        /// <summary>Where it is; null when it is in the pages file already.</summary>
        public RestBuffer? Buffer { get; set; }

        public bool IsSaved { get; set; }
    }
}
