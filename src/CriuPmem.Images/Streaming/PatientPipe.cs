using CriuPmem.Kernel;
using static CriuPmem.Kernel.Constants;

namespace CriuPmem.Images;

/// <summary>Reads and writes what may keep it waiting (a pipe, a socket), and can be interrupted meanwhile.</summary>
internal static unsafe class PatientPipe
{
    private const int PatienceMs = 100, AtomicBytes = 4096, RWF_NOWAIT = 8;

    /// <summary>read(2) of what is there, at least a byte; 0 at the end.</summary>
    /// <exception cref="CheckpointException">A signal ended it.</exception>
    public static SysResult Read(int fd, Span<byte> buffer)
    {
        while (true)
        {
            Interruption.Check();
            if (Sys.Poll(fd, POLLIN, PatienceMs) == 0) continue;
            SysResult read = Sys.Read(fd, buffer);
            if (read.Errno is not (Errno.EINTR or Errno.EAGAIN)) return read;
        }
    }

    /// <summary>write(2) of all; returns the error that ended it.</summary>
    /// <exception cref="CheckpointException">A signal ended it.</exception>
    public static SysResult Write(int fd, ReadOnlySpan<byte> bytes)
    {
        bool isFile = !ImageFileCalls.RegularFileLength(fd).Failed;
        while (!bytes.IsEmpty)
        {
            Interruption.Check();
            if (!isFile && Sys.Poll(fd, POLLOUT, PatienceMs) == 0) continue;
            SysResult written = isFile ? Sys.Write(fd, bytes) : WriteAtOnce(fd, bytes);
            if (written.Errno is Errno.EINTR or Errno.EAGAIN) continue;
            if (written.Failed) return written;
            bytes = bytes[written.Value..];
        }

        return default;
    }

    /// <summary>As much as fits without waiting (pwritev2(2), RWF_NOWAIT); where that is not known, as much as always does (pipe(7), PIPE_BUF).</summary>
    private static SysResult WriteAtOnce(int fd, ReadOnlySpan<byte> bytes)
    {
        ulong* vector = stackalloc ulong[2];
        fixed (byte* start = bytes)
        {
            (vector[0], vector[1]) = ((ulong)start, (ulong)bytes.Length);
            SysResult written = Syscall.Invoke(SyscallNumber.pwritev2, fd, (long)vector, 1, -1, -1, RWF_NOWAIT);
            if (written.Errno is not (Errno.EOPNOTSUPP or Errno.EINVAL or Errno.ENOSYS)) return written;
        }

        return Sys.Write(fd, bytes[..Math.Min(bytes.Length, AtomicBytes)]);
    }
}
