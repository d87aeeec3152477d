namespace CriuPmem.Engine.Estimate;

/// <summary>From counts to times.</summary>
/// <remarks>
/// A sum of what each process, thread, mapping, descriptor and byte takes. The factors come from rows of the bench, one from each
/// (docs/performance.md shows how far the sum is off for all of them). How fast the kernel answers here (<see cref="CallSpeed"/>), and
/// how fast memory goes into the directory and back (<see cref="StoreSpeed"/>), is measured.
/// </remarks>
/// <param name="count">What the tree has.</param>
/// <param name="speed">Of the images directory.</param>
/// <param name="isTmpfs">It lies on a tmpfs.</param>
/// <param name="calls">How long system calls take here.</param>
/// <param name="sync">The images are made durable.</param>
internal sealed class TimeModel(TreeCount count, StoreSpeed speed, bool isTmpfs, double calls, bool sync)
{
    private const double FilledOfSample = 0.68; // so much of the speed of the sample a process that is filled reaches

    // In microseconds: the command alone, then each process, thread, mapping, descriptor.
    private static readonly Factors s_observed = new(2_700, 360, 126, 2.1, 18);
    private static readonly Factors s_written = new(5_900, 80, 48, 0.83, 3.6);
    private static readonly Factors s_restored = new(7_600, 270, 113, 4.2, 9.8);

    /// <summary>The tree stands still to be observed, and its memory to be copied.</summary>
    public long FrozenMicroseconds => Observed + At(IsCopiedByItself ? speed.OwnCopyRate : speed.CopyRate);

    /// <summary>With -R large memory is copied while it runs, and two hundredths, say, once more.</summary>
    public long FrozenRunningMicroseconds => Observed + (IsCopiedRunning ? Math.Min(CopyMicroseconds, 2_000 + CopyMicroseconds / 200) : CopyMicroseconds);

    /// <summary>All of a dump, which ends when the memory of the tree is given back.</summary>
    public long DumpMicroseconds => FrozenMicroseconds + Written + At(speed.ReleaseRate);

    /// <summary>All of a dump with -R: what is copied while it runs is put in order afterwards, by copying it once more.</summary>
    public long DumpRunningMicroseconds => FrozenRunningMicroseconds + Written + (IsCopiedRunning ? 2 * CopyMicroseconds : 0);

    /// <summary>All of a restore.</summary>
    public long RestoreMicroseconds => (long)(s_restored.Of(count) * calls) + At((long)(speed.ReadRate * FilledOfSample));

    private bool IsCopiedByItself => isTmpfs && count.LargestBytes >= Memory.TaskCopy.WorthwhileBytes;

    private bool IsCopiedRunning => count.MemoryBytes >= Memory.LiveMemory.WorthwhileBytes;

    private long Observed => (long)(s_observed.Of(count) * calls);

    private long Written => (long)(s_written.Of(count) * calls) + (sync ? speed.SyncMicroseconds(count.SnapshotBytes) : 0);

    private long CopyMicroseconds => At(speed.CopyRate);

    private long At(long bytesPerSecond) => (long)(count.MemoryBytes * 1e6 / bytesPerSecond);

    private sealed record Factors(double Base, double Process, double Thread, double Mapping, double Descriptor)
    {
        public double Of(TreeCount count) =>
            Base + count.Processes * Process + count.Threads * Thread + count.Mappings * Mapping + count.Descriptors * Descriptor;
    }
}
