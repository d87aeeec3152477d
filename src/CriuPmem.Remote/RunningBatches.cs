namespace CriuPmem.Remote;

/// <summary>
/// Batches that run in several tasks at the same time, while the next ones are being filled: on one CPU the engine, on the
/// others the tasks.
/// </summary>
internal sealed class RunningBatches
{
    private const int Most = 4; // more fill no more CPUs than the engine can feed

    private readonly Queue<RemoteSpace> _running = [];

    /// <summary>Adds one that has begun; waits for the oldest if there are many.</summary>
    /// <exception cref="CheckpointException">That one failed.</exception>
    public void Add(RemoteSpace space)
    {
        _running.Enqueue(space);
        if (_running.Count > Most) _running.Dequeue().Collect();
    }

    /// <summary>Waits for all.</summary>
    /// <exception cref="CheckpointException">One of them failed.</exception>
    public void CollectAll()
    {
        while (_running.TryDequeue(out RemoteSpace? space)) space.Collect();
    }
}
