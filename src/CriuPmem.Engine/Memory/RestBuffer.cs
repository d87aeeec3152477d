using CriuPmem.Engine.Dump;

namespace CriuPmem.Engine.Memory;

/// <summary>Memory of the engine, made ready beforehand, into which the last pages of a live snapshot are copied.</summary>
/// <remarks>No file system is waited for while the tree stands still, and no page is made or zeroed.</remarks>
internal sealed class RestBuffer : IDisposable
{
    private const long MaxBytes = 32 << 20, MaxExactBytes = 256 << 20, HugePage = 2 << 20, MaxWriteBytes = 1 << 30;

    private readonly long _lengthBytes;
    private long _used;

    private RestBuffer(ulong start, long lengthBytes)
    {
        Start = start;
        _lengthBytes = lengthBytes;
    }

    /// <summary>Where it begins.</summary>
    public ulong Start { get; }

    /// <summary>Makes one for about as much as the last round has copied, and half of that more.</summary>
    /// <param name="expectedBytes">So much.</param>
    /// <param name="exactly">There will be no more, and no file instead.</param>
    /// <returns>Null when that is much, or memory is short: then a file has to do.</returns>
    public static RestBuffer? TryCreate(long expectedBytes, bool exactly = false)
    {
        if (expectedBytes > (exactly ? MaxExactBytes : MaxBytes)) return null;
        long length = exactly ? expectedBytes : Math.Min(MaxBytes, (expectedBytes + expectedBytes / 2 + 2 * HugePage) & -HugePage);
        SysResult mapped = Sys.Mmap(0, (ulong)length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapped.Failed) return null;
        if (length >= HugePage) Syscall.Invoke(SyscallNumber.madvise, mapped.Raw, length, MADV_HUGEPAGE);
        var buffer = new RestBuffer((ulong)mapped.Raw, length);
        if (!Syscall.Invoke(SyscallNumber.madvise, mapped.Raw, length, MADV_POPULATE_WRITE).Failed) return buffer;
        buffer.Dispose();
        return null;
    }

    /// <summary>Takes a part of it; 0 when there is no room.</summary>
    public ulong TryTake(long lengthBytes)
    {
        if (_used + lengthBytes > _lengthBytes) return 0;
        ulong at = Start + (ulong)_used;
        _used += lengthBytes;
        return at;
    }

    /// <summary>Writes a part of one to a file.</summary>
    public static unsafe void Write(DumpProcess process, ulong part, long lengthBytes, int file, long offset, string fileName)
    {
        for (long done = 0; done < lengthBytes;)
        {
            int size = (int)Math.Min(lengthBytes - done, MaxWriteBytes);
            SysResult written = Sys.PWrite(file, new ReadOnlySpan<byte>((byte*)part + done, size), offset + done);
            if (written.Raw <= 0) throw CopyJob.Describe(process, fileName, "the memory of the process cannot be written", written.Errno, 0);
            done += written.Value;
        }
    }

    /// <inheritdoc />
    public void Dispose() => Sys.Munmap(Start, (ulong)_lengthBytes);
}
