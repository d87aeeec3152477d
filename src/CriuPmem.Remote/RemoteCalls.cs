namespace CriuPmem.Remote;

/// <summary>
/// Remote calls that all have to succeed: collected, and run when the batch is full or at the end. They are one task's, or
/// of several that share an address space: those of each are run one after the other, those of several at the same time.
/// </summary>
internal sealed class RemoteCalls(RemoteSpace space, Tracee task)
{
    private const int RoomForTask = 4096;

    private readonly List<BatchPart> _parts = [];
    private RemoteAddress _control; // of the task's part, when there are several tasks
    private int _first;

    /// <summary>The task that executes what is added now.</summary>
    public Tracee Task { get; private set; } = task;

    /// <summary>Its address space.</summary>
    public RemoteSpace Space => space;

    /// <summary>The batch being filled.</summary>
    public SyscallBatch Batch => space.Batch;

    /// <summary>What is added from here on is executed by another task, one of a restore; nothing was added before the first.</summary>
    public void GoOnWith(Tracee next)
    {
        EndPart();
        Task = next;
        if (space.Batch.FreeBytes < RoomForTask) Flush();
        _first = space.Batch.Count;
        _control = space.Batch.NewPart();
    }

    /// <summary>Makes room for data and the calls that use it; runs what was collected if there is too little.</summary>
    /// <remarks>Addresses of data are good until the next <see cref="Room"/> or <see cref="Flush"/>.</remarks>
    public void Room(int lengthBytes, int calls = 1)
    {
        if (space.Batch.FreeBytes < lengthBytes + 64 + calls * 80) Flush();
    }

    /// <summary>Adds a call that must succeed.</summary>
    public int Must(string name, long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0)
    {
        if (space.Batch.FreeBytes < 64) Flush();
        return space.Batch.Must(name, number, a, b, c, d, e, f);
    }

    /// <summary>Adds a call that must return exactly so many bytes.</summary>
    public void MustMove(string name, ulong lengthBytes, long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0)
    {
        int index = Must(name, number, a, b, c, d, e);
        space.Batch.Expect(index, (long)lengthBytes);
    }

    /// <summary>Adds a call whose failure does not matter.</summary>
    public int Try(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0)
    {
        if (space.Batch.FreeBytes < 64) Flush();
        return space.Batch.Try(number, a, b, c, d, e, f);
    }

    /// <summary>Runs what was collected.</summary>
    public void Flush()
    {
        Interruption.Check();
        Run();
        space.Batch.Clear();
        if (_control != default) _control = space.Batch.NewPart();
    }

    /// <summary>Begins to run what was collected, among other batches.</summary>
    /// <param name="among">Those that run at the same time.</param>
    /// <param name="explain">What to add to a failure, which appears later; null for nothing.</param>
    public void Launch(RunningBatches among, Action<CheckpointException>? explain = null)
    {
        Interruption.Check();
        space.Launch(Task, explain);
        among.Add(space);
    }

    /// <summary>Runs what was collected and keeps the results to be read.</summary>
    public SyscallBatch RunAndKeep()
    {
        if (_control != default) throw new CheckpointException(ErrorCode.Internal, "results of several tasks are not kept");
        Run();
        return space.Batch;
    }

    private void Run()
    {
        EndPart();
        if (_parts.Count > 0) space.RunParts(_parts);
        else if (_control == default) space.Run(Task);
        _parts.Clear();
        _first = 0;
    }

    private void EndPart()
    {
        if (_control != default && space.Batch.Count > _first) _parts.Add(new BatchPart(Task, _control, _first, space.Batch.Count - _first));
        _first = space.Batch.Count;
    }
}
