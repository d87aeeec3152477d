namespace CriuPmem.Kernel;

/// <summary>System calls by name, typed. Each follows the man page of its name; grouped in files by subject.</summary>
internal static unsafe partial class Sys
{
    /// <summary>Writes everything, however many calls it takes; stops silently at an error (for logs).</summary>
    public static void WriteAll(int fd, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            for (int done = 0; done < bytes.Length;)
            {
                SysResult written = Syscall.Invoke(SyscallNumber.write, fd, (long)(start + done), bytes.Length - done);
                if (written.Errno == Errno.EINTR) continue;
                if (written.Failed) return;
                done += written.Value;
            }
        }
    }
}
