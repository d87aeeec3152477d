namespace CriuPmem.Engine.Memory;

/// <summary>Past the page cache to a disk (O_DIRECT), with many requests on their way: pages that must be durable go there only once.</summary>
internal sealed unsafe class DirectWay : BufferedWay
{
    /// <summary>So many workers keep a disk busy; they wait most of the time.</summary>
    public const int Workers = 8;

    /// <summary>Smaller files are written faster than they are prepared.</summary>
    private const long WorthwhileBytes = 64 << 20;

    /// <summary>Prepares a fresh file, so that it is written in this way; where it cannot be, it is written through the page cache.</summary>
    /// <param name="file">The file, open for writing.</param>
    /// <param name="lengthBytes">How long it will be.</param>
    public static void Prepare(int file, long lengthBytes)
    {
        if (lengthBytes < WorthwhileBytes || Sys.FileSystemMagic(file) == TMPFS_MAGIC || Check.PersistentMemory.IsDax(file)) return;
        // One writer at a time may make a file longer, or give it blocks.
        if (Syscall.Invoke(SyscallNumber.fallocate, file, 0, 0, lengthBytes).Failed) return;
        Sys.Fcntl(file, F_SETFL, O_DIRECT); // EINVAL where the file system cannot
    }

    /// <summary>True for a file that is prepared.</summary>
    public static bool IsPrepared(int file) => Sys.Fcntl(file, F_GETFL) is { Failed: false } flags && (flags.Value & O_DIRECT) != 0;

    /// <inheritdoc />
    protected override SysResult Store(CopyJob job, long offset, byte* from, int lengthBytes)
    {
        SysResult written = WritingWay.Write(job.File, offset, from, lengthBytes);
        if (written.Errno != Errno.EINVAL) return written;
        Sys.Fcntl(job.File, F_SETFL, 0); // a disk with larger blocks than pages
        return WritingWay.Write(job.File, offset, from, lengthBytes);
    }
}
