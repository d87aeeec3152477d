using CriuPmem.Engine.Dump;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Copies memory while the tree runs, then again what it has written meanwhile, and stands it still for the last of that.</summary>
/// <remarks>
/// <code>
/// tree        runs ────────────────────────────────────────── still ─── runs ──────────────
/// working     all pages → a     written → b     written → c   last → d
/// file        [ a a a a a a a a | b b b | c c | d ]                   └► pages-N.img, in order
/// </code>
/// Each address space has a working file without a name in the images directory, to which every round appends; which copy of
/// a page counts, the newest, is known in memory. When the tree runs again they are put in order into the pages file, and
/// given back on the way. A program that writes faster than it can be copied stands still longer: the rounds end when they
/// gain nothing.
/// </remarks>
internal sealed class LiveMemory(DumpOptions options, SnapshotWriter snapshot, PagesStore store, PagesIds ids) : IMemorySaver
{
    /// <summary>Trees with less memory than this are copied faster than they are tracked, in bytes.</summary>
    public const long WorthwhileBytes = 32 << 20;

    private const int MaxRounds = 6, O_TMPFILE_RDWR = 0x410002;
    private const long EnoughBytes = 2 << 20, AppendAlignment = 2 << 20, OrderedAtOnceBytes = 64 << 20;

    private readonly PagePlanner _planner = new();
    private readonly PageCopier _copier = new();
    private readonly Dictionary<(int Pid, ulong StartTime), Space> _spaces = [];
    private readonly List<(DumpProcess Process, Space Space)> _final = [];
    private long _writtenPages, _sharedPages;

    /// <inheritdoc />
    public (long Written, long InParent, long Scanned) Pages => (_writtenPages + _sharedPages, 0, _planner.ScannedPages);

    /// <inheritdoc />
    public void Prepare()
    {
        using FrozenTree tree = FrozenTree.Freeze(options.Pid, options.TimeoutSeconds, options.Log);
        if (MemoryTracking.Begin(tree, takeOver: false) is not { } owners)
        {
            options.Log.Info("live", $"a chain of snapshots tracks this memory: it is copied while the tree stands still, so that the chain goes on");
            return;
        }

        foreach (DumpProcess process in owners) _spaces.Add(Key(process), new Space(process.Tracker!, OpenWorkingFile(process)));
        tree.Release(FinalState.Running);
        long before = long.MaxValue;
        for (int round = 0; round < MaxRounds; round++)
        {
            long bytes = Round(owners, first: round == 0);
            options.Log.Info("live", $"round {round + 1}: {bytes >> 10} KiB while it ran");
            if (bytes < EnoughBytes || bytes > before * 3 / 4) return;
            before = bytes;
        }
    }

    /// <inheritdoc />
    public void Save(FrozenTree tree, DumpContext context)
    {
        foreach (DumpProcess process in tree.MemoryOwners)
        {
            if (!_spaces.TryGetValue(Key(process), out Space? space)) // born since
            {
                space = new Space(null, OpenWorkingFile(process));
                _spaces.Add(Key(process), space);
            }

            process.Tracker = space.Tracker;
            process.Tracker?.Recognize(process);
            PagePlan plan = _planner.Plan(process, space.Current, protect: false, running: false);
            Append(process, space, plan, running: false);
            process.Memory.Vmas.AddRange(plan.Guards); // behind the mappings that they lie in
            _final.Add((process, space));
        }

        _sharedPages = context.SharedMemory.Save(_copier);
    }

    /// <inheritdoc />
    public void Finish()
    {
        foreach ((DumpProcess process, Space space) in _final) PutInOrder(process, space);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (Space space in _spaces.Values) space.Dispose();
        _planner.Dispose();
        _copier.Dispose();
    }

    private static (int, ulong) Key(DumpProcess process) => (process.Pid, process.Stat.StartTimeTicks);

    private long Round(List<DumpProcess> owners, bool first)
    {
        var plans = new List<(DumpProcess Process, Space Space, PagePlan Plan)>();
        foreach (DumpProcess process in owners)
        {
            Interruption.Check();
            Space space = _spaces[Key(process)];
            if (process.Proc.Stat() is not { State: not ('Z' or 'X') }) continue; // ended
            if (!first) RegisterNew(process, space);

            plans.Add((process, space, _planner.Plan(process, space.Current, protect: true, running: true)));
        }

        MemoryTracking.Pause(options);
        long bytes = 0;
        foreach ((DumpProcess process, Space space, PagePlan plan) in plans) bytes += Append(process, space, plan, running: true);
        return bytes;
    }

    private static void RegisterNew(DumpProcess process, Space space)
    {
        try
        {
            AddressSpaceDump.Outline(process);
            space.Tracker!.Register(process);
        }
        catch (CheckpointException) when (process.Proc.Stat() is not { State: not ('Z' or 'X') })
        {
            process.Mappings.Clear(); // ended meanwhile
        }
    }

    private long Append(DumpProcess process, Space space, PagePlan plan, bool running)
    {
        List<PageRun> stored = plan.Stored;
        long offset = (space.LengthBytes + AppendAlignment - 1) & -AppendAlignment;
        long bytes = _copier.Copy(process, stored, space.File.Fd, $"{options.ImagesDirectory}/(working file)", running, offset) * (long)PageSize;
        space.Current = Advance(plan, space.Current, (ulong)offset);
        space.LengthBytes = offset + bytes;
        return bytes;
    }

    /// <summary>Which copy of each page counts now.</summary>
    private static SavedPages Advance(PagePlan plan, SavedPages? current, ulong offset)
    {
        var runs = new List<SavedRun>(plan.Runs.Count);
        foreach (PageRun run in plan.Runs)
        {
            if (run.InParent)
            {
                runs.AddRange(current!.Slice(run.Start, run.End));
                continue;
            }

            runs.Add(new SavedRun(run.Start, run.LengthBytes, (PageFlags)run.Flags, 0, offset));
            offset += run.LengthBytes;
        }

        return new SavedPages([], runs);
    }

    private void PutInOrder(DumpProcess process, Space space)
    {
        uint pagesId = ids.Next();
        using (PagemapWriter pagemap = store.NewMap(ImageKind.Pagemap, process.Pid, pagesId))
        {
            foreach (SavedRun run in space.Current!.Runs) pagemap.Add(run.Start, run.LengthBytes / PageSize, run.Flags);
        }

        long totalBytes = (long)space.Current.TotalBytes;
        using CompressedPagesWriter? compressed = store.Compression is null ? null : store.Begin(pagesId, totalBytes);
        using var pages = new OwnedFd(compressed is null ? snapshot.OpenRaw(ImageKind.Pages, pagesId, truncate: true) : -1);
        string name = $"{options.ImagesDirectory}/{ImageKind.Pages.FileName(pagesId)}";
        var pending = new List<PageRun>();
        long offset = 0, bytes = 0;
        foreach (SavedRun run in space.Current.Runs)
        {
            for (ulong done = 0; done < run.LengthBytes;)
            {
                ulong part = Math.Min(run.LengthBytes - done, (ulong)(OrderedAtOnceBytes - bytes));
                pending.Add(new PageRun(run.Offset + done, run.Offset + done + part, 0, true));
                bytes += (long)part;
                done += part;
                if (bytes == OrderedAtOnceBytes) Flush();
            }
        }

        Flush();
        if (compressed is not null) store.End(compressed, totalBytes);
        _writtenPages += offset / (long)PageSize;

        void Flush()
        {
            if (bytes == 0) return;
            _copier.CopyFile(process, pending, space.File.Fd, pages.Fd, name, offset, compressed);
            foreach (PageRun part in pending) ImageFileCalls.PunchHole(space.File.Fd, (long)part.Start, (long)part.LengthBytes);
            pending.Clear();
            offset += bytes;
            bytes = 0;
        }
    }

    private OwnedFd OpenWorkingFile(DumpProcess process)
    {
        // Who compresses has a slow or small store: the copy waits in memory, if there is room.
        if (store.Compression is not null && PagesStore.TryMakeCopy((long)(process.Proc.Status()?.AnonymousKib ?? 0) << 10) is { } memory) return memory;
        SysResult opened = Sys.OpenAt(options.ImagesDirectoryFd, ".", O_TMPFILE_RDWR, 0x180);
        if (!opened.Failed) return new OwnedFd(opened.Value);
        throw new CheckpointException(ErrorCode.ImagesDirectory, "no working file can be made for a live snapshot")
        {
            Object = options.ImagesDirectory,
            Errno = opened.Errno,
            Remedy = "Choose a directory on another file system, or give --no-live",
        };
    }

    /// <summary>One address space.</summary>
    private sealed class Space(WriteTracker? tracker, OwnedFd file) : IDisposable
    {
        public WriteTracker? Tracker => tracker;

        public OwnedFd File => file;

        public long LengthBytes { get; set; }

        public SavedPages? Current { get; set; }

        public void Dispose()
        {
            tracker?.Dispose();
            file.Dispose();
        }
    }
}
