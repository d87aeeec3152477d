using System.Globalization;
using CriuPmem.Kernel;
using static CriuPmem.Kernel.Constants;

namespace CriuPmem.Images;

/// <summary>Keeps others out of an images directory while it is written, and writers out while it is read (flock(2)).</summary>
/// <remarks>It ends with the engine, however that ends. A file system that knows no such locks is used without.</remarks>
internal sealed class DirectoryLock : IDisposable
{
    private const int LOCK_SH = 1, LOCK_EX = 2, LOCK_NB = 4;

    private readonly int _fd;

    private DirectoryLock(int fd) => _fd = fd;

    /// <summary>Takes it, or refuses at once.</summary>
    /// <param name="directoryFd">The images directory; it is opened anew, since a lock belongs to what was opened.</param>
    /// <param name="directoryName">Its name for messages.</param>
    /// <param name="exclusive">True to write, false to read.</param>
    /// <exception cref="CheckpointException">Another engine works there.</exception>
    public static DirectoryLock Take(int directoryFd, string directoryName, bool exclusive)
    {
        SysResult opened = Sys.OpenAt(directoryFd, ".", O_RDONLY | O_DIRECTORY);
        if (opened.Failed) return new DirectoryLock(-1); // whoever works there will say why
        SysResult locked = Syscall.Invoke(SyscallNumber.flock, opened.Value, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
        if (locked.Errno != Errno.EAGAIN) return new DirectoryLock(opened.Value);
        string holder = Holder(opened.Value) is { } pid ? $" (process {pid})" : "";
        ImageFileCalls.Close(opened.Value);
        throw new CheckpointException(ErrorCode.DirectoryInUse, $"another criu-pmem{holder} works in the images directory")
        {
            Object = directoryName,
            Remedy = exclusive ? "Give every dump a directory of its own (-D), or wait for the other to end." : "Wait for it to end.",
        };
    }

    /// <summary>Lets readers in, and keeps writers out.</summary>
    public void Share()
    {
        if (_fd >= 0) Syscall.Invoke(SyscallNumber.flock, _fd, LOCK_SH | LOCK_NB);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        if (_fd >= 0) ImageFileCalls.Close(_fd);
    }

    /// <summary>Who holds the lock, as /proc/locks tells (proc_locks(5)): "1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF".</summary>
    private static int? Holder(int fd)
    {
        var buffer = new byte[16 << 10];
        if (Sys.Stat(fd, out FileStat stat).Failed) return null;
        SysResult read = Sys.ReadFile(AT_FDCWD, "/proc/locks", ref buffer);
        if (read.Failed) return null;
        uint device = FileStat.KernelDevice(stat.st_dev);
        string file = string.Create(CultureInfo.InvariantCulture, $"{device >> 20:x2}:{device & 0xFFFFF:x2}:{stat.st_ino}");
        foreach (string line in LinuxText.Decode(buffer.AsSpan(0, read.Value)).Split('\n'))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length >= 6 && words[1] == "FLOCK" && words[5] == file && int.TryParse(words[4], out int pid) && pid > 0) return pid;
        }

        return null;
    }
}
