using CriuPmem.Kernel;

namespace CriuPmem.Cli;

/// <summary>Whole small files, read at once.</summary>
internal static unsafe class SmallFile
{
    private const int O_CLOEXEC = 0x80000;
    private const int AT_FDCWD = -100;

    /// <summary>Reads a file (open(2), read(2)).</summary>
    /// <param name="path">Its path.</param>
    /// <param name="bytes">Its contents; empty on failure.</param>
    /// <param name="directoryFd">What a relative path is relative to.</param>
    public static SysResult TryRead(string path, out byte[] bytes, int directoryFd = AT_FDCWD)
    {
        bytes = [];
        SysResult opened;
        fixed (byte* name = LinuxText.EncodeZ(path)) opened = Syscall.Invoke(SyscallNumber.openat, directoryFd, (long)name, O_CLOEXEC);
        if (opened.Failed) return opened;
        var buffer = new byte[16384];
        int length = 0;
        SysResult got;
        do
        {
            if (length == buffer.Length) Array.Resize(ref buffer, length * 2);
            fixed (byte* free = &buffer[length]) got = Syscall.Invoke(SyscallNumber.read, opened.Value, (long)free, buffer.Length - length);
            if (!got.Failed) length += got.Value;
        }
        while (got.Raw > 0 || got.Errno == Errno.EINTR);

        Syscall.Invoke(SyscallNumber.close, opened.Value);
        if (!got.Failed) bytes = buffer[..length];
        return got;
    }
}
