using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

internal static unsafe partial class Sys
{
    /// <summary>openat(2).</summary>
    [SkipLocalsInit]
    public static SysResult OpenAt(int directory, ReadOnlySpan<char> path, int flags, uint mode = 0)
    {
        Span<byte> buffer = stackalloc byte[512];
        fixed (byte* name = ZeroTerminated(path, buffer))
            return Syscall.Invoke(SyscallNumber.openat, directory, (long)name, flags | O_CLOEXEC, mode);
    }

    /// <summary>Opens, or throws an exception that names the path.</summary>
    public static OwnedFd OpenOrThrow(int directory, string path, int flags, uint mode = 0) =>
        new((int)OpenAt(directory, path, flags, mode).OrThrow("open", path));

    /// <summary>close(2).</summary>
    public static SysResult Close(int fd) => Syscall.Invoke(SyscallNumber.close, fd);

    /// <summary>read(2).</summary>
    public static SysResult Read(int fd, Span<byte> buffer)
    {
        fixed (byte* start = buffer) return Syscall.Invoke(SyscallNumber.read, fd, (long)start, buffer.Length);
    }

    /// <summary>pread64(2).</summary>
    public static SysResult PRead(int fd, Span<byte> buffer, long offset)
    {
        fixed (byte* start = buffer) return Syscall.Invoke(SyscallNumber.pread64, fd, (long)start, buffer.Length, offset);
    }

    /// <summary>write(2).</summary>
    public static SysResult Write(int fd, ReadOnlySpan<byte> buffer)
    {
        fixed (byte* start = buffer) return Syscall.Invoke(SyscallNumber.write, fd, (long)start, buffer.Length);
    }

    /// <summary>pwrite64(2).</summary>
    public static SysResult PWrite(int fd, ReadOnlySpan<byte> buffer, long offset)
    {
        fixed (byte* start = buffer) return Syscall.Invoke(SyscallNumber.pwrite64, fd, (long)start, buffer.Length, offset);
    }

    /// <summary>lseek(2).</summary>
    public static SysResult Seek(int fd, long offset, int whence) => Syscall.Quick(SyscallNumber.lseek, fd, offset, whence);

    /// <summary>ftruncate(2).</summary>
    public static SysResult Truncate(int fd, long lengthBytes) => Syscall.Invoke(SyscallNumber.ftruncate, fd, lengthBytes);

    /// <summary>fcntl(2).</summary>
    public static SysResult Fcntl(int fd, int command, long argument = 0) => Syscall.Invoke(SyscallNumber.fcntl, fd, command, argument);

    /// <summary>ioctl(2) with an argument by value.</summary>
    public static SysResult Ioctl(int fd, uint request, long argument = 0) => Syscall.Invoke(SyscallNumber.ioctl, fd, request, argument);

    /// <summary>ioctl(2) with a structure.</summary>
    public static SysResult Ioctl<T>(int fd, uint request, ref T argument) where T : unmanaged
    {
        fixed (T* pointer = &argument) return Syscall.Invoke(SyscallNumber.ioctl, fd, request, (long)pointer);
    }

    /// <summary>poll(2) of one descriptor, at once; the events that came, or 0.</summary>
    public static short Poll(int fd, short events)
    {
        long request = (uint)fd | (long)events << 32; // struct pollfd: fd, events, revents
        return Syscall.Invoke(SyscallNumber.poll, (long)(&request), 1, 0).Raw > 0 ? (short)(request >> 48) : (short)0;
    }

    /// <summary>inotify_add_watch(2): the watch descriptor.</summary>
    public static SysResult InotifyAddWatch(int fd, ReadOnlySpan<char> path, uint mask)
    {
        fixed (byte* name = ZeroTerminated(path, default)) return Syscall.Invoke(SyscallNumber.inotify_add_watch, fd, (long)name, mask);
    }

    /// <summary>dup3(2).</summary>
    public static SysResult Dup3(int from, int to, int flags) => Syscall.Invoke(SyscallNumber.dup3, from, to, flags);

    /// <summary>readlinkat(2); the target as text, or null with the error.</summary>
    [SkipLocalsInit]
    public static string? ReadLink(int directory, ReadOnlySpan<char> path, out Errno error)
    {
        Span<byte> name = stackalloc byte[512];
        byte* target = stackalloc byte[4096];
        SysResult result;
        fixed (byte* start = ZeroTerminated(path, name))
            result = Syscall.Invoke(SyscallNumber.readlinkat, directory, (long)start, (long)target, 4096);
        error = result.Errno;
        return result.Failed ? null : LinuxText.Decode(new ReadOnlySpan<byte>(target, result.Value));
    }

    /// <summary>newfstatat(2); an empty path means the descriptor itself.</summary>
    [SkipLocalsInit]
    public static SysResult Stat(int directory, ReadOnlySpan<char> path, out FileStat stat, int flags = 0)
    {
        Span<byte> buffer = stackalloc byte[512];
        fixed (FileStat* pointer = &stat)
        fixed (byte* name = ZeroTerminated(path, buffer))
            return Syscall.Invoke(SyscallNumber.newfstatat, directory, (long)name, (long)pointer, path.IsEmpty ? flags | AT_EMPTY_PATH : flags);
    }

    /// <summary>fstat(2).</summary>
    public static SysResult Stat(int fd, out FileStat stat)
    {
        fixed (FileStat* pointer = &stat) return Syscall.Invoke(SyscallNumber.fstat, fd, (long)pointer);
    }

    /// <summary>The file system's magic number (statfs(2)), or 0.</summary>
    public static long FileSystemMagic(int fd)
    {
        long* statfs = stackalloc long[16];
        return Syscall.Invoke(SyscallNumber.fstatfs, fd, (long)statfs).Failed ? 0 : statfs[0];
    }

    /// <summary>unlinkat(2).</summary>
    public static SysResult Unlink(int directory, ReadOnlySpan<char> path, int flags = 0)
    {
        fixed (byte* name = ZeroTerminated(path, default))
            return Syscall.Invoke(SyscallNumber.unlinkat, directory, (long)name, flags);
    }

    /// <summary>linkat(2).</summary>
    public static SysResult Link(int fromDirectory, ReadOnlySpan<char> from, int toDirectory, ReadOnlySpan<char> to, int flags)
    {
        fixed (byte* a = ZeroTerminated(from, default))
        fixed (byte* b = ZeroTerminated(to, default))
            return Syscall.Invoke(SyscallNumber.linkat, fromDirectory, (long)a, toDirectory, (long)b, flags);
    }

    /// <summary>fsync(2).</summary>
    public static SysResult Sync(int fd) => Syscall.Invoke(SyscallNumber.fsync, fd);

    /// <summary>memfd_create(2).</summary>
    public static SysResult MemfdCreate(ReadOnlySpan<char> name, int flags)
    {
        fixed (byte* start = ZeroTerminated(name, default)) return Syscall.Invoke(SyscallNumber.memfd_create, (long)start, flags);
    }

    /// <summary>The number in a file of /proc or /sys; <paramref name="otherwise"/> when it cannot be read.</summary>
    public static int ReadNumber(string path, int otherwise)
    {
        byte[] buffer = new byte[32];
        SysResult read = ReadFile(AT_FDCWD, path, ref buffer);
        return !read.Failed && System.Buffers.Text.Utf8Parser.TryParse(buffer.AsSpan(0, read.Value), out int value, out _) ? value : otherwise;
    }

    /// <summary>Reads a whole small file (of /proc, say) into <paramref name="buffer"/>, which grows as needed.</summary>
    /// <returns>The part of the buffer that was filled, or an error.</returns>
    public static SysResult ReadFile(int directory, ReadOnlySpan<char> path, ref byte[] buffer)
    {
        SysResult fd = OpenAt(directory, path, O_RDONLY);
        if (fd.Failed) return fd;
        try
        {
            for (int length = 0; ;)
            {
                if (length == buffer.Length) Array.Resize(ref buffer, buffer.Length * 2);
                SysResult read = Read(fd.Value, buffer.AsSpan(length));
                if (read.Errno == Errno.EINTR) continue;
                if (read.Failed) return read;
                if (read.Raw == 0) return new SysResult(length);
                length += read.Value;
            }
        }
        finally
        {
            Close(fd.Value);
        }
    }

    /// <summary>Writes <paramref name="text"/> into an existing file of /proc or /sys.</summary>
    public static SysResult WriteFile(int directory, ReadOnlySpan<char> path, ReadOnlySpan<char> text)
    {
        SysResult fd = OpenAt(directory, path, O_WRONLY);
        if (fd.Failed) return fd;
        SysResult result = Write(fd.Value, LinuxText.Encode(text));
        Close(fd.Value);
        return result;
    }

    /// <summary>Calls <paramref name="visit"/> with each name of an open directory (getdents64(2)), in no order.</summary>
    [SkipLocalsInit]
    public static void ForEachEntry(int directory, Action<string> visit)
    {
        const int capacityBytes = 32 * 1024;
        byte* buffer = stackalloc byte[capacityBytes];
        for (; ; )
        {
            SysResult length = Syscall.Invoke(SyscallNumber.getdents64, directory, (long)buffer, capacityBytes);
            if (length.Failed || length.Raw == 0) return;
            for (int at = 0; at < length.Value; at += *(ushort*)(buffer + at + 16))
            {
                string name = LinuxText.Decode(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(buffer + at + 19));
                if (name is not ("." or "..")) visit(name);
            }
        }
    }

    private static ReadOnlySpan<byte> ZeroTerminated(ReadOnlySpan<char> text, Span<byte> buffer)
    {
        if (text.Length * 3 < buffer.Length)
        {
            int used = LinuxText.Encode(text, buffer);
            buffer[used] = 0;
            return buffer[..(used + 1)];
        }

        return LinuxText.EncodeZ(text);
    }
}
