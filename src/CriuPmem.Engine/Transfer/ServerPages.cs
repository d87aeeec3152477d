using System.Buffers.Binary;
using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;
using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>Pages that are sent to a page server (criu(8), --page-server); no pages and no page maps are written here.</summary>
/// <remarks>If the connection ends before <see cref="Finish"/>, the server throws away what it got.</remarks>
/// <param name="channel">The connection; it is closed with the store.</param>
/// <param name="notes">The rest of the images, in which it is noted what was sent; null when nobody will ask.</param>
/// <param name="log">Where it tells that a tree that goes on waits long for that; null when it does not go on.</param>
internal sealed unsafe class ServerPages(ByteChannel channel, SnapshotWriter? notes, EngineLog? log) : IPageStore
{
    private const long MuchBytes = 256 << 20;

    private const int BufferBytes = 1 << 20, PieceBytes = BufferedWay.BufferBytes;

    private readonly CopyWorker _worker = new();
    private readonly byte* _buffer = (byte*)NativeMemory.AlignedAlloc(BufferBytes, 4096);
    private int _used;
    private long _waitedForBytes;

    /// <inheritdoc />
    public bool Continues(int pid, SavedPages earlier)
    {
        Add(new PageMessage(PageCommand.AskParent, PageFlags.None, 0, 0, PageTarget.Of(pid).Encoded));
        return Answer() switch
        {
            0 => false,
            1 => true,
            int other => throw channel.Nonsense($"{other} as the answer whether it has an earlier snapshot of process {pid}"),
        };
    }

    /// <inheritdoc />
    public long Save(DumpProcess process, PagePlan plan, bool running)
    {
        if (!running) TellOfWaiting(plan.Runs.Sum(static run => (run.Flags & (uint)PageFlags.Present) != 0 ? (long)run.LengthBytes : 0));
        if (notes is not null) SentPagemap.Write(notes, process.Pid, plan);
        using OwnedFd memory = PageCopier.OpenMemory(process, running, plan.Runs.Exists(run => run.Carefully));
        var job = new CopyJob(process, [], memory.Fd, running ? CopySource.RunningProcess : CopySource.Process, -1, "");
        return Send(PageTarget.Of(process.Pid), plan.Runs, job);
    }

    /// <inheritdoc />
    public long SaveShared(DumpProcess process, uint id, List<PageRun> runs, int file) =>
        Send(PageTarget.OfShared(id), runs.ConvertAll(run => run with { Flags = (uint)PageFlags.Present }), new CopyJob(process, [], file, CopySource.File, -1, ""));

    /// <inheritdoc />
    public void Finish()
    {
        Add(new PageMessage(PageCommand.Close, PageFlags.None, 0, 0, 0));
        int answer = Answer();
        if (answer == 0) return;
        throw new CheckpointException(ErrorCode.OtherSideFailed, $"{channel.Peer} could not store the pages (it answers {answer})") { Remedy = "What it reports, and its log, tell why." };
    }

    /// <inheritdoc />
    public void Dispose()
    {
        channel.Dispose();
        _worker.Dispose();
        NativeMemory.AlignedFree(_buffer);
    }

    private void TellOfWaiting(long bytes)
    {
        bool told = _waitedForBytes > MuchBytes;
        _waitedForBytes += bytes;
        if (told || _waitedForBytes <= MuchBytes) return;
        log?.Warn("page-server", $"more than {MuchBytes >> 20} MiB are sent while the tree stands still; pre-dump --page-server sends them ahead, while it runs, and dump --prev-images-dir then only what was written since");
    }

    private long Send(PageTarget target, List<PageRun> runs, CopyJob job)
    {
        Add(new PageMessage(PageCommand.OpenAndTell, PageFlags.None, 0, 0, target.Encoded));
        Flush();
        byte hasParent = 0;
        channel.Receive(new Span<byte>(ref hasParent));
        if (hasParent > 1) throw channel.Nonsense($"{hasParent} as the answer to the beginning of {target.Kind.FileName(target.Id)}");
        long sent = 0;
        foreach (PageRun run in runs)
        {
            var message = new PageMessage(PageCommand.Add, (PageFlags)run.Flags, run.LengthBytes / PageSize, run.Start, target.Encoded);
            Add(message);
            if (!message.HasContents) continue;
            AddContents(run, job);
            sent += (long)message.Pages;
        }

        return sent;
    }

    private void AddContents(PageRun run, CopyJob job)
    {
        for (ulong at = run.Start; at < run.End;)
        {
            Interruption.Check();
            var piece = new CopyPiece(at, (int)Math.Min(PieceBytes, run.End - at), 0, run.Carefully);
            Reserve(piece.LengthBytes);
            if (!_worker.Fetch(job, new ReadOnlySpan<CopyPiece>(in piece), _buffer + _used)) throw job.Failure!;
            _used += piece.LengthBytes;
            at += (ulong)piece.LengthBytes;
        }
    }

    private void Add(PageMessage message)
    {
        if (channel.SendsHeadersAlone) Flush();
        Reserve(PageMessage.Size);
        message.Write(new Span<byte>(_buffer + _used, PageMessage.Size));
        _used += PageMessage.Size;
        if (channel.SendsHeadersAlone) Flush();
    }

    private void Reserve(int bytes)
    {
        if (_used + bytes > BufferBytes) Flush();
    }

    private void Flush()
    {
        if (_used > 0) channel.Send(new ReadOnlySpan<byte>(_buffer, _used));
        _used = 0;
    }

    private int Answer()
    {
        Flush();
        Span<byte> answer = stackalloc byte[sizeof(int)];
        channel.Receive(answer);
        return BinaryPrimitives.ReadInt32LittleEndian(answer);
    }
}
