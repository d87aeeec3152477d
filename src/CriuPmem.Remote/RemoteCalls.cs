namespace CriuPmem.Remote;

/// <summary>Remote calls of one task that all have to succeed: collected, and run when the batch is full or at the end.</summary>
internal sealed class RemoteCalls(RemoteSpace space, Tracee task)
{
    /// <summary>The task that executes them.</summary>
    public Tracee Task { get; } = task;

    /// <summary>The batch being filled.</summary>
    public SyscallBatch Batch => space.Batch;

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
        space.Run(Task);
        space.Batch.Clear();
    }

    /// <summary>Runs what was collected and keeps the results to be read.</summary>
    public SyscallBatch RunAndKeep()
    {
        space.Run(Task);
        return space.Batch;
    }
}
