namespace CriuPmem.Engine.Estimate;

/// <summary>From counts to times.</summary>
/// <remarks>
/// A sum of what each process, thread, mapping, descriptor and byte takes. The factors are those of docs/performance.md; what lies in
/// the directory, how fast memory goes there and how long it takes to be durable, is measured (<see cref="StoreSpeed"/>).
/// </remarks>
internal sealed class TimeModel(TreeCount count, StoreSpeed speed, bool sync)
{
    private const double RestoreOfCopy = 0.8; // reading memory back, in parts of what copying it takes
    private const double ExitMicrosecondsPerMiB = 90; // a dump ends when the memory of the tree is given back

    /// <summary>The tree stands still to be observed, and its memory to be copied.</summary>
    public long FrozenMicroseconds => Observed + CopyMicroseconds;

    /// <summary>With -R large memory is copied while it runs, and a thirtieth, say, once more.</summary>
    public long FrozenRunningMicroseconds =>
        Observed + (count.MemoryBytes >= Memory.LiveMemory.WorthwhileBytes ? Math.Min(CopyMicroseconds, 4_000 + CopyMicroseconds / 30) : CopyMicroseconds);

    /// <summary>All of a dump.</summary>
    public long DumpMicroseconds => FrozenMicroseconds + 6_000 +
        (long)(count.Processes * 120 + count.Threads * 42 + count.Mappings * 1.5 + count.Descriptors * 3.5 + (count.MemoryBytes >> 20) * ExitMicrosecondsPerMiB) +
        (sync ? speed.SyncMicroseconds(count.SnapshotBytes) : 0);

    /// <summary>All of a restore.</summary>
    public long RestoreMicroseconds => 6_000 +
        (long)(count.Processes * 930 + count.Threads * 190 + count.Mappings * 5.5 + count.Descriptors * 10 + CopyMicroseconds * RestoreOfCopy);

    private long Observed => 2_500 + (long)(count.Processes * 460 + count.Threads * 100 + count.Mappings * 1.9 + count.Descriptors * 17.7);

    private long CopyMicroseconds => (long)(count.MemoryBytes * 1e6 / speed.BytesPerSecond);
}
