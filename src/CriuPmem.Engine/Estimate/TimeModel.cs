namespace CriuPmem.Engine.Estimate;

/// <summary>From counts to times.</summary>
/// <remarks>
/// A sum of what each process, thread, mapping, descriptor and byte takes. The factors come from rows of the bench, one from each
/// (docs/performance.md shows how far the sum is off for all of them). How fast the kernel answers here (<see cref="CallSpeed"/>), how fast
/// memory goes into the directory, and how long it takes to be durable (<see cref="StoreSpeed"/>), is measured.
/// </remarks>
internal sealed class TimeModel(TreeCount count, StoreSpeed speed, double calls, bool sync)
{
    private const double RestoreOfCopy = 0.8; // reading memory back, in parts of what copying it takes
    private const double ExitMicrosecondsPerMiB = 90; // a dump ends when the memory of the tree is given back

    // In microseconds: the command alone, then each process, thread, mapping, descriptor.
    private static readonly Factors s_observed = new(2_500, 460, 100, 1.9, 17.7);
    private static readonly Factors s_written = new(6_000, 120, 42, 1.5, 3.5);
    private static readonly Factors s_restored = new(6_000, 930, 190, 5.5, 10);

    /// <summary>The tree stands still to be observed, and its memory to be copied.</summary>
    public long FrozenMicroseconds => Observed + CopyMicroseconds;

    /// <summary>With -R large memory is copied while it runs, and a thirtieth, say, once more.</summary>
    public long FrozenRunningMicroseconds =>
        Observed + (count.MemoryBytes >= Memory.LiveMemory.WorthwhileBytes ? Math.Min(CopyMicroseconds, 4_000 + CopyMicroseconds / 30) : CopyMicroseconds);

    /// <summary>All of a dump.</summary>
    public long DumpMicroseconds => FrozenMicroseconds +
        (long)(s_written.Of(count) * calls + (count.MemoryBytes >> 20) * ExitMicrosecondsPerMiB) + (sync ? speed.SyncMicroseconds(count.SnapshotBytes) : 0);

    /// <summary>All of a restore.</summary>
    public long RestoreMicroseconds => (long)(s_restored.Of(count) * calls + CopyMicroseconds * RestoreOfCopy);

    private long Observed => (long)(s_observed.Of(count) * calls);

    private long CopyMicroseconds => (long)(count.MemoryBytes * 1e6 / speed.BytesPerSecond);

    private sealed record Factors(double Base, double Process, double Thread, double Mapping, double Descriptor)
    {
        public double Of(TreeCount count) =>
            Base + count.Processes * Process + count.Threads * Thread + count.Mappings * Mapping + count.Descriptors * Descriptor;
    }
}
