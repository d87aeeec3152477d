using System.Diagnostics;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Transfer;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Memory;

/// <summary>Copies memory while the tree runs, then again what it has written meanwhile, and stands it still for the last of that.</summary>
/// <remarks>
/// <code>
/// tree        runs ────────────────────────────────────────── still ─── runs ──────────────
/// working     all pages → a     written → b     written → c   last → d
/// file        [ a a a a a a a a | b b b | c c | d ]                   └► pages-N.img, in order
/// </code>
/// Each address space has a working file without a name in the images directory, to which every round appends; which copy of
/// a page counts, the newest, is known in memory. The last copies go into memory that is ready for them: no file system shall
/// hold the tree up. When the tree runs again all are put in order into the pages file, and given back on the way. A program
/// that writes faster than it can be copied stands still longer: the rounds end when they gain nothing.
/// </remarks>
/// <param name="options">What the user asked for.</param>
/// <param name="output">Where pages go.</param>
/// <param name="earlier">The snapshot that this one continues: what it has, and was not written since, is not copied.</param>
internal sealed class LiveMemory(DumpOptions options, PagesOutput output, EarlierSnapshot? earlier = null) : IMemorySaver
{
    /// <summary>Trees with less memory than this are copied faster than they are tracked, in bytes.</summary>
    public const long WorthwhileBytes = 32 << 20;

    private const int MaxRounds = 6;
    private const long EnoughBytes = 2 << 20, AppendAlignment = 2 << 20, OrderedAtOnceBytes = 64 << 20;

    private readonly PagePlanner _planner = new();
    private readonly PageCopier _copier = new();
    private readonly Dictionary<(int Pid, ulong StartTime), Space> _spaces = [];
    private readonly List<(DumpProcess Process, Space Space, PageChanges Changes, ulong Copied)> _final = [];
    private readonly List<(int Pid, List<PageRun> Runs)> _written = []; // but for first rounds
    private RestBuffer? _rest;
    private long _writtenPages, _parentPages, _sharedPages;

    /// <inheritdoc />
    public (long Written, long InParent, long Scanned) Pages => (_writtenPages + _sharedPages, _parentPages, _planner.ScannedPages);

    /// <inheritdoc />
    public IEnumerable<(int Pid, PageRun Run)> WrittenLately => Enumerable.Reverse(_written).SelectMany(static round => round.Runs.Select(run => (round.Pid, run)));

    /// <summary>How long the tree would stand still now for the rest to be copied, as the last round tells; null when no round was made.</summary>
    public TimeSpan? RestTime { get; private set; }

    /// <inheritdoc />
    public void Prepare()
    {
        using FrozenTree tree = FrozenTree.Freeze(options.Pid, options.TimeoutSeconds, options.Log);
        earlier?.TakeTrackers(tree, options.Log);
        if (MemoryTracking.Begin(tree, takeOver: options.TrackMemory || earlier is not null) is not { } owners)
        {
            options.Log.Info("live", $"a chain of snapshots tracks this memory: it is copied while the tree stands still, so that the chain goes on");
            return;
        }

        foreach (DumpProcess process in owners) _spaces.Add(Key(process), new Space(process.Tracker!, OpenWorkingFile(process)));
        tree.Release(FinalState.Running);
        // What is protected anew counts from this round on, and would be missing in any other that followed the same one.
        TrackingHolder.End(earlier?.Tracking);
        long before = long.MaxValue, bytes = 0;
        for (int round = 0; round < MaxRounds; round++)
        {
            bytes = Round(owners, first: round == 0);
            options.Log.Info("live", $"round {round + 1}: {bytes >> 10} KiB while it ran");
            if (bytes < EnoughBytes || bytes > before * 3 / 4) break;
            before = bytes;
        }

        _rest = RestBuffer.TryCreate(Math.Max(EnoughBytes, bytes));
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
            PageChanges changes = _planner.Changes(process, CopyRound.Last);
            long bytes = changes.Stored.Sum(run => (long)run.LengthBytes);
            ulong copied = _rest?.TryTake(bytes) ?? 0;
            if (copied != 0) _copier.Copy(process, changes.Stored, copied);
            else Append(process, space, changes, running: false);
            process.Memory.Vmas.AddRange(changes.Guards); // behind the mappings that they lie in
            if (space.Tracker is not null) _written.Add((process.Pid, changes.Stored));
            _final.Add((process, space, changes, copied));
        }

        using var shared = new LocalPages(output);
        _sharedPages = context.SharedMemory.Save(shared);
    }

    /// <inheritdoc />
    public void Finish()
    {
        foreach ((DumpProcess process, Space space, PageChanges changes, ulong copied) in _final)
        {
            if (copied != 0) Append(process, space, changes, copied);
            PutInOrder(process, space);
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _rest?.Dispose();
        foreach (Space space in _spaces.Values)
        {
            if (!options.TrackMemory) space.Tracker?.Forget();
            space.Dispose();
        }

        _planner.Dispose();
        _copier.Dispose();
    }

    private static (int, ulong) Key(DumpProcess process) => (process.Pid, process.Stat.StartTimeTicks);

    private long Round(List<DumpProcess> owners, bool first)
    {
        var found = new List<(DumpProcess Process, Space Space, PageChanges Changes)>();
        foreach (DumpProcess process in owners)
        {
            Interruption.Check();
            Space space = _spaces[Key(process)];
            if (process.Proc.Stat() is not { State: not ('Z' or 'X') }) continue; // ended
            if (!first) RegisterNew(process, space);

            SavedPages? earlier = first ? EarlierPages(process) : null;
            PageChanges changes = earlier is null ? _planner.Changes(process, first ? CopyRound.First : CopyRound.Next) : Since(earlier, process, space);
            if (!first || earlier is not null) _written.Add((process.Pid, changes.Stored));
            found.Add((process, space, changes));
        }

        MemoryTracking.Pause(options);
        long bytes = 0, begun = Stopwatch.GetTimestamp();
        foreach ((DumpProcess process, Space space, PageChanges changes) in found) bytes += Append(process, space, changes, running: true);
        RestTime = Stopwatch.GetElapsedTime(begun);
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

    /// <summary>Copies into the working file.</summary>
    private long Append(DumpProcess process, Space space, PageChanges changes, bool running)
    {
        long offset = space.NextOffset;
        long bytes = _copier.Copy(process, changes.Stored, space.File.Fd, WorkingFileName, running, offset) * (long)PageSize;
        space.Advance(changes, offset, bytes);
        return bytes;
    }

    /// <summary>Puts what was copied into memory while the tree stood still behind the rest.</summary>
    private void Append(DumpProcess process, Space space, PageChanges changes, ulong copied)
    {
        long offset = space.NextOffset, bytes = changes.Stored.Sum(run => (long)run.LengthBytes);
        RestBuffer.Write(process, copied, bytes, space.File.Fd, offset, WorkingFileName);
        space.Advance(changes, offset, bytes);
    }

    private string WorkingFileName => $"{options.ImagesDirectory}/(working file)";

    private void PutInOrder(DumpProcess process, Space space)
    {
        (ulong, ulong, PageFlags)[] wanted = [.. process.Memory.Vmas.Select(vma => (vma.Start, vma.End, PagePlanner.FlagsOf(vma))).Where(vma => vma.Item3 != 0)];
        List<SavedRun> runs = [.. PageVersions.Within(space.Current, wanted)];
        uint pagesId = output.NextId();
        using (PagemapWriter pagemap = output.NewMap(ImageKind.Pagemap, process.Pid, pagesId))
        {
            foreach (SavedRun run in runs) pagemap.Add(run.Start, run.LengthBytes / PageSize, run.Flags);
        }

        _parentPages += runs.Sum(static run => run.Flags == PageFlags.Parent ? (long)(run.LengthBytes / PageSize) : 0);
        runs.RemoveAll(static run => run.Flags == PageFlags.Parent);
        long totalBytes = runs.Sum(static run => (long)run.LengthBytes);
        using CompressedPagesWriter? compressed = output.Compression is null ? null : output.Begin(pagesId, totalBytes);
        using OwnedFd pages = compressed is null ? output.Open(process, pagesId, totalBytes) : new OwnedFd(-1);
        string name = output.NameOf(pagesId);
        var pending = new List<PageRun>();
        long offset = 0, bytes = 0;
        foreach (SavedRun run in runs)
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
        if (compressed is not null) output.End(compressed, totalBytes);
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

    /// <summary>What the snapshot before has of a process in files here, as long as it is known which pages are still the same.</summary>
    private SavedPages? EarlierPages(DumpProcess process) => earlier?.PagesOf(process) is { Files.Count: > 0 } pages ? pages : null;

    /// <summary>The first round where a snapshot is continued: what that has not, or has as it was before it was written.</summary>
    private PageChanges Since(SavedPages pages, DumpProcess process, Space space)
    {
        PagePlan plan = _planner.Plan(process, pages, protect: true, running: true);
        space.Continue([.. plan.Runs.Where(static run => run.InParent).Select(static run => new SavedRun(run.Start, run.LengthBytes, PageFlags.Parent, 0, 0))]);
        VmaEntry? vdso = process.Memory.Vmas.FirstOrDefault(static vma => ((VmaStatus)vma.Status & VmaStatus.Vdso) != 0); // the last round has it
        var changes = new PageChanges();
        foreach (PageRun run in plan.Stored.Where(run => vdso is null || run.Start >= vdso.End || run.End <= vdso.Start))
        {
            changes.Replace(run.Start, run.End);
            changes.Stored.Add(run);
        }

        return changes;
    }

    private OwnedFd OpenWorkingFile(DumpProcess process)
    {
        // Who compresses has a slow or small store: the copy waits in memory, if there is room.
        if (output.Compression is not null && PagesOutput.TryMakeCopy((long)(process.Proc.Status()?.AnonymousKib ?? 0) << 10) is { } memory) return memory;
        return output.MakeWorkingFile();
    }

    /// <summary>One address space.</summary>
    private sealed class Space(WriteTracker? tracker, OwnedFd file) : IDisposable
    {
        public WriteTracker? Tracker => tracker;

        public OwnedFd File => file;

        /// <summary>What counts now, in ascending order.</summary>
        public List<SavedRun> Current { get; private set; } = [];

        /// <summary>Where in the working file the next round begins.</summary>
        public long NextOffset { get; private set; }

        /// <summary>Takes what an earlier snapshot has, and what has not been written since, for what counts.</summary>
        public void Continue(List<SavedRun> runs) => Current = runs;

        /// <summary>Notes a round that has been copied.</summary>
        public void Advance(PageChanges changes, long offset, long lengthBytes)
        {
            Current = PageVersions.Advance(Current, changes, (ulong)offset);
            NextOffset = (offset + lengthBytes + AppendAlignment - 1) & -AppendAlignment;
        }

        public void Dispose()
        {
            tracker?.Dispose();
            file.Dispose();
        }
    }
}
