namespace CriuPmem.Engine.Estimate;

/// <summary>From counts to times.</summary>
/// <remarks>
/// A sum of what each process, thread, mapping, descriptor and byte takes. The factors come from rows of the bench, one from each
/// (docs/performance.md shows how far the sum is off for all of them). How fast the kernel answers here (<see cref="CallSpeed"/>), how fast
/// memory goes into the directory, and how long it takes to be durable (<see cref="StoreSpeed"/>), is measured.
/// </remarks>
/// <param name="count">What the tree has.</param>
/// <param name="speed">Of the images directory.</param>
/// <param name="isTmpfs">It lies on a tmpfs.</param>
/// <param name="calls">How long system calls take here.</param>
/// <param name="sync">The images are made durable.</param>
internal sealed class TimeModel(TreeCount count, StoreSpeed speed, bool isTmpfs, double calls, bool sync)
{
    private const double RestoreOfCopy = 0.64; // reading memory back, in parts of what copying it takes
    private const double ByItselfOfCopy = 0.56; // copying of a process that does it itself (TaskCopy)
    private const double ExitMicrosecondsPerMiB = 110; // a dump ends when the memory of the tree is given back

    // In microseconds: the command alone, then each process, thread, mapping, descriptor.
    private static readonly Factors s_observed = new(2_700, 385, 99, 2.1, 21);
    private static readonly Factors s_written = new(5_900, 87, 40, 0.83, 4.1);
    private static readonly Factors s_restored = new(7_600, 238, 90, 4, 9.2);

    /// <summary>The tree stands still to be observed, and its memory to be copied.</summary>
    public long FrozenMicroseconds => Observed + (long)(CopyMicroseconds * (IsCopiedByItself ? ByItselfOfCopy : 1));

    /// <summary>With -R large memory is copied while it runs, and two hundredths, say, once more.</summary>
    public long FrozenRunningMicroseconds =>
        Observed + (count.MemoryBytes >= Memory.LiveMemory.WorthwhileBytes ? Math.Min(CopyMicroseconds, 2_000 + CopyMicroseconds / 200) : CopyMicroseconds);

    /// <summary>All of a dump.</summary>
    public long DumpMicroseconds => FrozenMicroseconds +
        (long)(s_written.Of(count) * calls + (count.MemoryBytes >> 20) * ExitMicrosecondsPerMiB) + (sync ? speed.SyncMicroseconds(count.SnapshotBytes) : 0);

    /// <summary>All of a restore.</summary>
    public long RestoreMicroseconds => (long)(s_restored.Of(count) * calls + CopyMicroseconds * RestoreOfCopy);

    private bool IsCopiedByItself => isTmpfs && count.LargestBytes >= Memory.TaskCopy.WorthwhileBytes;

    private long Observed => (long)(s_observed.Of(count) * calls);

    private long CopyMicroseconds => (long)(count.MemoryBytes * 1e6 / speed.BytesPerSecond);

    private sealed record Factors(double Base, double Process, double Thread, double Mapping, double Descriptor)
    {
        public double Of(TreeCount count) =>
            Base + count.Processes * Process + count.Threads * Thread + count.Mappings * Mapping + count.Descriptors * Descriptor;
    }
}
