namespace CriuPmem.Engine.Memory;

/// <summary>By pwrite(2): into the page cache, or, on DAX, by the kernel's own stores past the caches into persistent memory.</summary>
internal sealed unsafe class WritingWay : BufferedWay
{
    /// <inheritdoc />
    protected override SysResult Store(CopyJob job, long offset, byte* from, int lengthBytes) => Write(job.File, offset, from, lengthBytes);

    /// <summary>Writes all of it.</summary>
    internal static SysResult Write(int file, long offset, byte* from, int lengthBytes)
    {
        for (int done = 0; done < lengthBytes;)
        {
            SysResult written = Syscall.Invoke(SyscallNumber.pwrite64, file, (long)(from + done), lengthBytes - done, offset + done);
            if (written.Failed) return written;
            if (written.Raw == 0) return new SysResult(-(long)Errno.EIO);
            done += written.Value;
        }

        return default;
    }
}
