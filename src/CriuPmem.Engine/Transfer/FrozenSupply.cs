using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;
using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>A dump whose lazy pages stay in the processes, which stand still until another machine has fetched them (dump --lazy-pages).</summary>
/// <param name="inner">Where all other pages go.</param>
internal sealed unsafe class FrozenSupply(IPageStore inner) : IPageStore, IPageSupply
{
    private readonly CopyWorker _worker = new();
    private readonly Dictionary<ulong, Space> _spaces = [];

    /// <summary>Pages that were not saved.</summary>
    public long Pages { get; private set; }

    /// <inheritdoc />
    public bool Continues(int pid, SavedPages earlier) => inner.Continues(pid, earlier);

    /// <inheritdoc />
    public long Save(DumpProcess process, PagePlan plan, bool running)
    {
        plan.LeaveLazy();
        List<PageRun> left = plan.Runs.FindAll(static run => run.Flags == (uint)PageFlags.Lazy);
        Pages += left.Sum(static run => (long)(run.LengthBytes / PageSize));
        OwnedFd memory = PageCopier.OpenMemory(process, running: false, left.Exists(static run => run.Carefully));
        _spaces.Add((ulong)process.Pid, new Space(new CopyJob(process, [], memory.Fd, CopySource.Process, -1, ""), memory, left));
        return inner.Save(process, plan, running);
    }

    /// <inheritdoc />
    public long SaveShared(DumpProcess process, uint id, List<PageRun> runs, int file) => inner.SaveShared(process, id, runs, file);

    /// <inheritdoc />
    public void Finish() => inner.Finish();

    /// <inheritdoc />
    public ulong Available(ulong pid, ulong address, ulong most)
    {
        if (!_spaces.TryGetValue(pid, out Space? space)) return 0;
        int at = space.FirstAbove(address);
        return at == space.Runs.Count || space.Runs[at].Start > address ? 0 : Math.Min(most, (space.Runs[at].End - address) / PageSize);
    }

    /// <inheritdoc />
    public void Read(ulong pid, ulong address, Span<byte> to)
    {
        Space space = _spaces[pid];
        bool carefully = space.Runs[space.FirstAbove(address)].Carefully;
        fixed (byte* start = to)
        {
            for (int done = 0; done < to.Length;)
            {
                var piece = new CopyPiece(address + (ulong)done, Math.Min(to.Length - done, BufferedWay.BufferBytes), 0, carefully);
                if (!_worker.Fetch(space.Job, new ReadOnlySpan<CopyPiece>(in piece), start + done)) throw space.Job.Failure!;
                done += piece.LengthBytes;
            }
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (Space space in _spaces.Values) space.Memory.Dispose();
        _worker.Dispose();
        inner.Dispose();
    }

    /// <summary>What one process keeps.</summary>
    private sealed record Space(CopyJob Job, OwnedFd Memory, List<PageRun> Runs)
    {
        public int FirstAbove(ulong address)
        {
            int low = 0, high = Runs.Count;
            while (low < high)
            {
                int middle = (low + high) / 2;
                if (Runs[middle].End <= address) low = middle + 1;
                else high = middle;
            }

            return low;
        }
    }
}
