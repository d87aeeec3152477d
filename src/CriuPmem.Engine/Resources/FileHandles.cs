using System.Globalization;
using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Finds paths of inodes that are known by their file handles alone (open_by_handle_at(2)).</summary>
internal sealed unsafe class FileHandles(DumpContext context)
{
    private readonly Dictionary<(uint Device, ulong Inode), string?> _paths = [];

    /// <summary>A path that leads to an inode; null when none is found.</summary>
    /// <param name="device">The device in the kernel's own form.</param>
    /// <param name="inode">The inode.</param>
    /// <param name="handle">Its handle.</param>
    public string? PathOf(uint device, ulong inode, FhEntry handle)
    {
        if (_paths.TryGetValue((device, inode), out string? known)) return known;
        using OwnedFd? file = TryOpen(device, handle);
        string? path = file is null ? null : Sys.ReadLink(AT_FDCWD, string.Create(CultureInfo.InvariantCulture, $"/proc/thread-self/fd/{file.Fd}"), out _);
        if (path is null || !LeadsTo(path, device, inode)) path = FromDescriptors(device, inode);
        _paths.Add((device, inode), path);
        return path;
    }

    /// <summary>Opens an inode by its handle (O_PATH); null when no mount of its file system is seen, or it is gone.</summary>
    public static OwnedFd? TryOpen(uint device, FhEntry handle)
    {
        if (handle.Bytes == 0 || handle.Bytes > handle.Handle.Count * 8) return null;
        // struct file_handle: handle_bytes, handle_type, then the bytes
        var bytes = new byte[8 + handle.Handle.Count * 8];
        BitConverter.TryWriteBytes(bytes.AsSpan(0), handle.Bytes);
        BitConverter.TryWriteBytes(bytes.AsSpan(4), handle.Type);
        MemoryMarshal.AsBytes<ulong>(handle.Handle.ToArray()).CopyTo(bytes.AsSpan(8));
        foreach (string mount in Mounts(device))
        {
            SysResult root = Sys.OpenAt(AT_FDCWD, mount, O_RDONLY | O_NONBLOCK);
            if (root.Failed) continue;
            using var fd = new OwnedFd(root.Value);
            // A mount point may be hidden by another mount.
            if (Sys.Stat(fd.Fd, out FileStat stat).Failed || FileStat.KernelDevice(stat.st_dev) != device) continue;
            fixed (byte* start = bytes)
            {
                SysResult opened = Syscall.Invoke(SyscallNumber.open_by_handle_at, fd.Fd, (long)start, O_PATH | O_CLOEXEC);
                if (!opened.Failed) return new OwnedFd(opened.Value);
            }
        }

        return null;
    }

    private string? FromDescriptors(uint device, ulong inode)
    {
        foreach (KnownDescriptor known in context.Files.WithInode(device, inode))
        {
            string? path = known.Process.Proc.ReadLink(string.Create(CultureInfo.InvariantCulture, $"fd/{known.Fd}"));
            if (path is not null && LeadsTo(path, device, inode)) return path;
        }

        return null;
    }

    private static bool LeadsTo(string path, uint device, ulong inode) =>
        path.StartsWith('/') && !Sys.Stat(AT_FDCWD, path, out FileStat stat, AT_SYMLINK_NOFOLLOW).Failed &&
        FileStat.KernelDevice(stat.st_dev) == device && stat.st_ino == inode;

    /// <summary>Where a device's file system is mounted (proc_pid_mountinfo(5)), its own root first.</summary>
    private static IEnumerable<string> Mounts(uint device)
    {
        byte[] buffer = new byte[16 * 1024];
        SysResult read = Sys.ReadFile(AT_FDCWD, "/proc/self/mountinfo", ref buffer);
        if (read.Failed) return [];
        string wanted = string.Create(CultureInfo.InvariantCulture, $"{device >> 20}:{device & 0xFFFFF}");
        var mounts = new List<(bool IsRoot, string Path)>();
        foreach (string line in LinuxText.Decode(buffer.AsSpan(0, read.Value)).Split('\n'))
        {
            string[] fields = line.Split(' ');
            if (fields.Length > 4 && fields[2] == wanted) mounts.Add((fields[3] == "/", Unescape(fields[4])));
        }

        return mounts.OrderByDescending(mount => mount.IsRoot).Select(mount => mount.Path);
    }

    /// <summary>Spaces, tabs, newlines and backslashes stand there as \040 and so on.</summary>
    private static string Unescape(string path) =>
        path.Replace("\\040", " ", StringComparison.Ordinal).Replace("\\011", "\t", StringComparison.Ordinal)
            .Replace("\\012", "\n", StringComparison.Ordinal).Replace("\\134", "\\", StringComparison.Ordinal);
}
