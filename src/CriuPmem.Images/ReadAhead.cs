using CriuPmem.Images.Messages;
using CriuPmem.Kernel;
using Google.Protobuf;

namespace CriuPmem.Images;

/// <summary>Reads the images of one entry that every task has on two threads: of a large tree they are most of what is read.</summary>
internal sealed class ReadAhead(SnapshotReader reader) : IDisposable
{
    private const int ManyImages = 64; // from here on, a second thread gains more than it costs

    private readonly SideThread _side = new(isActive: true);
    private readonly Dictionary<(ImageKind Kind, uint Id), Ahead<IMessage>> _planned = [];

    /// <summary>Begins to read what the processes of a tree lead to.</summary>
    public void Begin(IReadOnlyList<PstreeEntry> processes)
    {
        foreach (PstreeEntry process in processes)
        {
            Plan<CoreEntry>(ImageKind.Core, process.Pid);
            foreach (uint tid in process.Threads) Plan<CoreEntry>(ImageKind.Core, tid);
            Plan<TaskKobjIdsEntry>(ImageKind.Ids, process.Pid);
            Plan<MmEntry>(ImageKind.Mm, process.Pid);
            Plan<FsEntry>(ImageKind.Fs, process.Pid);
        }

        if (_planned.Count < ManyImages) _planned.Clear();
        else _side.Post(() => PrepareAll([.. _planned.Values.Reverse()])); // from the end: who asks for them begins at the start
    }

    /// <summary>Reads an image of exactly one entry, unless it was read already.</summary>
    /// <exception cref="CheckpointException">It is missing or damaged.</exception>
    public T ReadSingle<T>(ImageKind kind, uint id)
        where T : class, IMessage<T>, new() =>
        _planned.TryGetValue((kind, id), out Ahead<IMessage>? ahead) ? (T)ahead.Value : reader.ReadSingle<T>(kind, id);

    /// <inheritdoc />
    public void Dispose() => _side.Dispose();

    // What is not there (a zombie has no memory) fails here, and is not asked for.
    private void Plan<T>(ImageKind kind, uint id)
        where T : class, IMessage<T>, new() =>
        _planned.TryAdd((kind, id), new Ahead<IMessage>(() => reader.ReadSingle<T>(kind, id)));

    private static void PrepareAll(Ahead<IMessage>[] planned)
    {
        foreach (Ahead<IMessage> image in planned) image.Prepare();
    }
}
