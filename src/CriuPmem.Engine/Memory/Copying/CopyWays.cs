namespace CriuPmem.Engine.Memory;

/// <summary>Chooses the way of copying by what the file lies on.</summary>
/// <remarks>
/// Measured (2 CPUs, Linux 6.18): huge pages of a tmpfs take 8 GB/s with two threads, write(2) into it 2.5. On a disk (virtio, ext4)
/// 1 GiB is durable at 1.6 to 2.5 GB/s past the page cache, and at 0.15 to 1.3 through it (bench/disk.c).
/// Into a fresh DAX file write(2) stores past the caches (Documentation/filesystems/dax.rst), so that only metadata is left to
/// sync, but ext4 and xfs let one CPU at a time do so. Mapped, all CPUs store, and processes by themselves. That is for files that
/// have their blocks (--recycle): in others each fault would be a transaction of the journal, and whether it gains anything there was
/// not tried. No figures: only emulated persistent memory was at hand, which tells what is durable and not what is fast.
/// </remarks>
internal static class CopyWays
{
    private const long WorthwhileBytes = 4 << 20;

    private static readonly Choice s_writing = new(static () => new WritingWay());

    private static readonly Choice s_direct = new(static () => new DirectWay(), workers: DirectWay.Workers);
    private static readonly Choice s_extents = new(static () => new ExtentWay(), ExtentWindow.IntoTmpfs);
    private static readonly Choice s_persistent = new(static () => new PersistentWay(), ExtentWindow.IntoPersistentMemory);

    /// <summary>The way into a file, for each worker of a job.</summary>
    /// <param name="file">The file.</param>
    /// <param name="totalBytes">How much will be copied.</param>
    /// <param name="endBytes">How long the file will be.</param>
    public static Choice Into(int file, long totalBytes, long endBytes)
    {
        if (totalBytes < WorthwhileBytes) return s_writing;
        if (Sys.FileSystemMagic(file) == TMPFS_MAGIC) return Sys.Truncate(file, endBytes).Failed ? s_writing : s_extents;
        if (DirectWay.IsPrepared(file)) return s_direct;
        return HasBlocks(file, endBytes) && Check.PersistentMemory.IsDax(file) ? s_persistent : s_writing;
    }

    /// <summary>The file is as long, and without holes.</summary>
    private static bool HasBlocks(int file, long endBytes) =>
        !Sys.Stat(file, out FileStat stat).Failed && stat.st_size >= endBytes && stat.st_blocks * 512 >= stat.st_size;

    /// <summary>What is chosen in a directory, for the log.</summary>
    public static string Describe(Check.PersistentMemoryKind kind) => kind switch
    {
        Check.PersistentMemoryKind.Dax => "persistent memory (DAX): written past the CPU's caches; files of --recycle are mapped, and processes copy into them by themselves",
        Check.PersistentMemoryKind.Tmpfs => "a tmpfs: copied into huge pages of the file",
        _ => "no persistent memory: written through the page cache, or past it what is large and must be durable",
    };

    /// <summary>A way that was chosen; workers keep what they made of the same one.</summary>
    /// <param name="make">Makes one for a worker.</param>
    /// <param name="makeWindow">Makes a window by which pages are made ready for a process that copies by itself.</param>
    /// <param name="workers">How many work at the same time, if they do more waiting than work.</param>
    internal sealed class Choice(Func<CopyWay> make, Func<ExtentWindow>? makeWindow = null, int? workers = null)
    {
        /// <summary>How many work at the same time; null for as many as there are CPUs.</summary>
        public int? Workers => workers;

        /// <summary>Makes a window by which pages are made ready for a process that copies by itself (<see cref="TaskCopy"/>); null where none can.</summary>
        public Func<ExtentWindow>? MakeWindow => makeWindow;

        /// <summary>Makes one for a worker.</summary>
        public CopyWay Make() => make();
    }
}
