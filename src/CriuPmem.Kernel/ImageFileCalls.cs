using System.Runtime.CompilerServices;

namespace CriuPmem.Kernel;

/// <summary>The few calls on files relative to a directory that images are read and written with.</summary>
/// <remarks>None of them throws: the caller knows what the file is for, and says so.</remarks>
internal static unsafe class ImageFileCalls
{
    private const int MaxNameBytes = 256;
    private const long CloseOnExec = 0x80000;
    private const long NoFollow = 0x20000;
    private const long NonBlocking = 0x800;
    private const int RegularFile = 0x8000;

    /// <summary>Opens a file for reading; never waits, even if the name turns out to be a FIFO (open(2)).</summary>
    public static SysResult OpenToRead(int directoryFd, string name) =>
        Open(directoryFd, name, CloseOnExec | NonBlocking, 0);

    /// <summary>Frees a part of a file, which becomes a hole (fallocate(2)).</summary>
    public static SysResult PunchHole(int fd, long offset, long lengthBytes) =>
        Syscall.Invoke(SyscallNumber.fallocate, fd, 3, offset, lengthBytes); // FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE

    /// <summary>symlinkat(2).</summary>
    public static SysResult MakeLink(string target, int directoryFd, string name)
    {
        fixed (byte* to = LinuxText.EncodeZ(target))
        fixed (byte* at = LinuxText.EncodeZ(name)) return Syscall.Invoke(SyscallNumber.symlinkat, (long)to, directoryFd, (long)at);
    }

    /// <summary>Opens a directory, or what a link to one leads to.</summary>
    public static SysResult OpenDirectory(int directoryFd, string name) => Sys.OpenAt(directoryFd, name, O_RDONLY | O_DIRECTORY);

    /// <summary>Creates or empties a regular file for writing, mode 0600; refuses to follow a symbolic link (open(2)).</summary>
    /// <remarks>
    /// Never waits, as for the reader of a FIFO; EINVAL or ENXIO when the name is that of no regular file. A file that is not ours alone,
    /// by its owner or by another name that it has (a backup of hard links), is not written: a new one takes its place.
    /// </remarks>
    /// <param name="directoryFd">The directory.</param>
    /// <param name="name">A plain file name.</param>
    /// <param name="truncate">False keeps what the file holds, so that its blocks can be used again.</param>
    /// <param name="readable">True for O_RDWR instead of O_WRONLY.</param>
    public static SysResult OpenToWrite(int directoryFd, string name, bool truncate, bool readable)
    {
        const long create = 0x40, exclusive = 0x80;
        long flags = CloseOnExec | NoFollow | NonBlocking | create | (readable ? 2L : 1L);
        SysResult opened = Open(directoryFd, name, flags | exclusive, 0x180);
        if (opened.Errno == Errno.EEXIST) opened = Open(directoryFd, name, flags & ~create, 0x180);
        else if (!opened.Failed) return opened;
        if (opened.Failed) return opened;
        if (!IsOursAlone(opened.Value))
        {
            Close(opened.Value);
            SysResult removed = Unlink(directoryFd, name);
            return removed.Failed ? removed : Open(directoryFd, name, flags | exclusive, 0x180);
        }

        SysResult length = RegularFileLength(opened.Value);
        if (!length.Failed && truncate && length.Raw > 0) length = Sys.Truncate(opened.Value, 0);
        if (!length.Failed) return opened;
        Close(opened.Value);
        return length;
    }

    /// <summary>Opens a regular file to change something in it, whoever's it is and whatever other names it has; EINVAL for anything else.</summary>
    public static SysResult OpenToChange(int directoryFd, string name)
    {
        SysResult opened = Open(directoryFd, name, CloseOnExec | NoFollow | NonBlocking | 2, 0);
        if (opened.Failed) return opened;
        SysResult length = RegularFileLength(opened.Value);
        if (!length.Failed) return opened;
        Close(opened.Value);
        return length;
    }

    /// <summary>Whether a file is this user's, has one name, and nobody else may read or write it; no regular file is left to other checks.</summary>
    public static bool IsOursAlone(int fd)
    {
        if (Sys.Stat(fd, out FileStat stat).Failed || stat.Type != Constants.S_IFREG) return true;
        return stat.st_uid == Sys.GetEffectiveUid() && stat.st_nlink == 1 && (stat.st_mode & 0x3F /* 077 */) == 0;
    }

    /// <summary>read(2) until the buffer is full, the file ends, or an error; returns the bytes read.</summary>
    public static SysResult ReadAt(int fd, Span<byte> buffer, long offset)
    {
        int done = 0;
        fixed (byte* start = buffer)
        {
            while (done < buffer.Length)
            {
                SysResult read = Syscall.Invoke(
                    SyscallNumber.pread64, fd, (long)(start + done), buffer.Length - done, offset + done);
                if (read.Errno == Errno.EINTR) continue;
                if (read.Failed) return read;
                if (read.Raw == 0) break;
                done += read.Value;
            }
        }

        return new SysResult(done);
    }

    /// <summary>write(2) until all is written or an error.</summary>
    public static SysResult WriteFully(int fd, ReadOnlySpan<byte> bytes)
    {
        int done = 0;
        fixed (byte* start = bytes)
        {
            while (done < bytes.Length)
            {
                SysResult written = Syscall.Invoke(SyscallNumber.write, fd, (long)(start + done), bytes.Length - done);
                if (written.Errno == Errno.EINTR) continue;
                if (written.Failed) return written;
                done += written.Value;
            }
        }

        return new SysResult(done);
    }

    /// <summary>pwrite(2) until all is written or an error.</summary>
    public static SysResult WriteAt(int fd, ReadOnlySpan<byte> bytes, long offset)
    {
        for (int done = 0; done < bytes.Length;)
        {
            SysResult written = Sys.PWrite(fd, bytes[done..], offset + done);
            if (written.Errno == Errno.EINTR) continue;
            if (written.Failed) return written;
            done += written.Value;
        }

        return new SysResult(bytes.Length);
    }

    /// <summary>The length of a regular file in bytes; EINVAL for anything else (fstat(2)).</summary>
    public static SysResult RegularFileLength(int fd)
    {
        // struct stat of x86-64: st_mode is the u32 at 24, st_size the s64 at 48.
        byte* stat = stackalloc byte[144];
        SysResult result = Syscall.Quick(SyscallNumber.fstat, fd, (long)stat);
        if (result.Failed) return result;
        bool regular = (Unsafe.ReadUnaligned<uint>(stat + 24) & 0xF000) == RegularFile;
        return regular ? new SysResult(Unsafe.ReadUnaligned<long>(stat + 48)) : new SysResult(-(long)Errno.EINVAL);
    }

    /// <summary>close(2).</summary>
    public static void Close(int fd) => Syscall.Invoke(SyscallNumber.close, fd);

    /// <summary>fsync(2): the file's or directory's contents reach the medium.</summary>
    public static SysResult Fsync(int fd) => Retry(SyscallNumber.fsync, fd);

    /// <summary>syncfs(2): everything in the file system that holds the descriptor reaches the medium. Since Linux
    /// 5.8 it also reports failed writes.</summary>
    public static SysResult Syncfs(int fd) => Retry(SyscallNumber.syncfs, fd);

    /// <summary>unlinkat(2).</summary>
    public static SysResult Unlink(int directoryFd, string name)
    {
        byte* path = stackalloc byte[MaxNameBytes];
        Terminate(name, path);
        return Syscall.Invoke(SyscallNumber.unlinkat, directoryFd, (long)path, 0);
    }

    /// <summary>renameat(2).</summary>
    public static SysResult Rename(int fromDirectoryFd, string from, int toDirectoryFd, string to)
    {
        byte* old = stackalloc byte[MaxNameBytes];
        byte* renamed = stackalloc byte[MaxNameBytes];
        Terminate(from, old);
        Terminate(to, renamed);
        return Syscall.Invoke(SyscallNumber.renameat, fromDirectoryFd, (long)old, toDirectoryFd, (long)renamed);
    }

    /// <summary>The free and total bytes of the file system (fstatfs(2)); false if it does not tell.</summary>
    public static bool TryGetSpace(int fd, out long freeBytes, out long totalBytes)
    {
        // struct statfs of x86-64: longs f_type, f_bsize, f_blocks, f_bfree, f_bavail …
        long* statfs = stackalloc long[15];
        bool known = !Syscall.Invoke(SyscallNumber.fstatfs, fd, (long)statfs).Failed;
        freeBytes = known ? statfs[1] * statfs[4] : 0;
        totalBytes = known ? statfs[1] * statfs[2] : 0;
        return known;
    }

    private static SysResult Retry(long number, int fd)
    {
        SysResult result;
        do result = Syscall.Invoke(number, fd);
        while (result.Errno == Errno.EINTR);
        return result;
    }

    private static SysResult Open(int directoryFd, string name, long flags, long mode)
    {
        byte* path = stackalloc byte[MaxNameBytes];
        Terminate(name, path);
        SysResult opened;
        do opened = Syscall.Invoke(SyscallNumber.openat, directoryFd, (long)path, flags, mode);
        while (opened.Errno == Errno.EINTR);
        return opened;
    }

    // Names of images are ASCII and short: "pagemap-shmem-4294967295.img".
    private static void Terminate(string name, byte* path)
    {
        var bytes = new Span<byte>(path, MaxNameBytes);
        int used = LinuxText.Encode(name, bytes[..^1]);
        bytes[used] = 0;
    }
}
