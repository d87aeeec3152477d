namespace CriuPmem.Engine.Memory;

/// <summary>Chooses the way of copying by what the file lies on.</summary>
/// <remarks>
/// Measured (2 CPUs, Linux 6.18): huge pages of a tmpfs take 8 GB/s with two threads, write(2) into it 2.5. Into a DAX file
/// write(2) stores past the caches (Documentation/filesystems/dax.rst), so that only metadata is left to sync. Whether O_DIRECT is
/// faster on a disk than the page cache with fsync after it, two tries here did not tell.
/// </remarks>
internal static class CopyWays
{
    private const long WorthwhileBytes = 4 << 20;

    private static readonly Choice s_writing = new(static () => new WritingWay());

    /// <summary>Into huge pages of a tmpfs file.</summary>
    public static Choice Extents { get; } = new(static () => new ExtentWay());

    /// <summary>The way into a file, for each worker of a job.</summary>
    /// <param name="file">The file.</param>
    /// <param name="totalBytes">How much will be copied.</param>
    /// <param name="endBytes">How long the file will be.</param>
    public static Choice Into(int file, long totalBytes, long endBytes) =>
        totalBytes >= WorthwhileBytes && Sys.FileSystemMagic(file) == TMPFS_MAGIC && !Sys.Truncate(file, endBytes).Failed ? Extents : s_writing;

    /// <summary>What is chosen in a directory, for the log.</summary>
    public static string Describe(Check.PersistentMemoryKind kind) => kind switch
    {
        Check.PersistentMemoryKind.Dax => "persistent memory (DAX): written past the CPU's caches, only metadata is synced",
        Check.PersistentMemoryKind.Tmpfs => "a tmpfs: copied into huge pages of the file",
        _ => "no persistent memory: written through the page cache",
    };

    /// <summary>A way that was chosen; workers keep what they made of the same one.</summary>
    /// <param name="make">Makes one for a worker.</param>
    internal sealed class Choice(Func<CopyWay> make)
    {
        /// <summary>Makes one for a worker.</summary>
        public CopyWay Make() => make();
    }
}
