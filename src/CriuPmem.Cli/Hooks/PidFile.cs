using CriuPmem.Kernel;

namespace CriuPmem.Cli.Hooks;

/// <summary>--pidfile: a file with the root process's pid in it.</summary>
/// <remarks>
/// It is made before anything is restored, so that a name that is taken or a directory that is not writable refuses the
/// restore while that costs nothing, and taken away when the restore fails.
/// </remarks>
internal sealed unsafe class PidFile : IDisposable
{
    private const int O_WRONLY = 1;
    private const int O_CREAT = 0x40;
    private const int O_EXCL = 0x80;
    private const int O_CLOEXEC = 0x80000;

    private readonly int _directoryFd;
    private readonly string _path;
    private readonly int _fd;
    private bool _written;

    /// <summary>Makes the file, empty.</summary>
    /// <param name="directoryFd">The work directory.</param>
    /// <param name="path">Its path, relative to the work directory.</param>
    /// <exception cref="CheckpointException">It exists already, or cannot be made.</exception>
    public PidFile(int directoryFd, string path)
    {
        _directoryFd = directoryFd;
        _path = path;
        SysResult opened;
        fixed (byte* name = LinuxText.EncodeZ(path))
        {
            opened = Syscall.Invoke(SyscallNumber.openat, directoryFd, (long)name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0x180 /* 0600 */);
        }

        if (opened.Failed)
        {
            throw new CheckpointException(opened.Errno == Errno.EEXIST ? ErrorCode.NameTaken : ErrorCode.SystemCall, "the pid file cannot be made")
            {
                Object = path,
                Errno = opened.Errno,
                Remedy = opened.Errno == Errno.EEXIST ? "Remove it, or give another name with --pidfile."
                    : opened.Errno == Errno.ENOENT ? "Its directory is missing (the name is relative to -W, else -D): make it, or give another name with --pidfile."
                    : "Give another name with --pidfile (relative to -W, else -D).",
            };
        }

        _fd = opened.Value;
    }

    /// <summary>Writes the pid; only the first call counts.</summary>
    public void Write(int pid)
    {
        if (_written || pid == 0) return;
        Sys.WriteAll(_fd, System.Text.Encoding.ASCII.GetBytes(pid.ToString()));
        _written = true;
    }

    /// <summary>Takes the file away: the restore has failed.</summary>
    public void Remove()
    {
        fixed (byte* name = LinuxText.EncodeZ(_path)) Syscall.Invoke(SyscallNumber.unlinkat, _directoryFd, (long)name, 0);
    }

    /// <inheritdoc />
    public void Dispose() => Syscall.Invoke(SyscallNumber.close, _fd);
}
