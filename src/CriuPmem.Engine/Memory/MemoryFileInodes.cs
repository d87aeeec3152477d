using CriuPmem.Engine.Dump;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.Engine.Memory;

/// <summary>The memory files of a tree (memfd_create(2)), open or mapped: what becomes memfd.img.</summary>
/// <remarks>Shared anonymous memory is one too, named "/dev/zero" as the kernel and the peer name it.</remarks>
internal sealed class MemoryFileInodes(DumpContext context)
{
    /// <summary>The name of shared anonymous memory.</summary>
    public const string SharedAnonymous = "/dev/zero";

    private const string Prefix = "/memfd:", Suffix = " (deleted)";

    private readonly Dictionary<(ulong Device, ulong Inode), MemfdInodeEntry> _inodes = [];
    private readonly Dictionary<(ulong InodeId, uint Flags), uint> _mapped = [];

    /// <summary>True when a link of /proc leads to a memory file.</summary>
    public static bool Is(string path, in FileStat stat) =>
        stat.st_nlink == 0 && stat.Type == S_IFREG && path.EndsWith(Suffix, StringComparison.Ordinal) &&
        (path.StartsWith(Prefix, StringComparison.Ordinal) || path.AsSpan(0, path.Length - Suffix.Length).SequenceEqual(SharedAnonymous));

    /// <summary>The inode_id of a memory file; describes it when it is new.</summary>
    /// <param name="process">A process that has it.</param>
    /// <param name="link">The link under /proc/PID that leads to it: fd/N, or map_files/START-END.</param>
    /// <param name="path">What that link says.</param>
    /// <param name="stat">Its inode.</param>
    /// <param name="what">For messages.</param>
    public uint IdOf(DumpProcess process, string link, string path, in FileStat stat, string what)
    {
        if (_inodes.TryGetValue((stat.st_dev, stat.st_ino), out MemfdInodeEntry? known)) return (uint)known.InodeId;
        using OwnedFd file = Sys.OpenOrThrow(process.Proc.Fd, link, O_RDONLY);
        if (Sys.FileSystemMagic(file.Fd) != TMPFS_MAGIC)
        {
            throw process.Fail(
                ErrorCode.UnsupportedFile, "memory files with huge pages (MFD_HUGETLB) cannot be saved yet",
                "Let the program use ordinary memory files (transparent huge pages are fine)", what);
        }

        int prefixLength = path.StartsWith(Prefix, StringComparison.Ordinal) ? Prefix.Length : 0;
        var entry = new MemfdInodeEntry
        {
            Name = ByteString.CopyFrom(LinuxText.Encode(path.AsSpan(prefixLength..^Suffix.Length))),
            Uid = stat.st_uid,
            Gid = stat.st_gid,
            Size = (ulong)stat.st_size,
            Mode = stat.st_mode,
            Seals = (uint)Sys.Fcntl(file.Fd, F_GET_SEALS).OrThrow("fcntl(F_GET_SEALS)", what),
            Shmid = context.SharedMemory.IdOf(stat, process, link, what),
            InodeId = (ulong)_inodes.Count + 1,
        };
        _inodes.Add((stat.st_dev, stat.st_ino), entry);
        if (entry.InodeId == 1) context.Contents.Add(Write);
        return (uint)entry.InodeId;
    }

    /// <summary>The id in files.img of a memory file that is mapped.</summary>
    /// <param name="process">The process that maps it.</param>
    /// <param name="link">The link under /proc/PID that leads to it: map_files/START-END.</param>
    /// <param name="path">What that link says.</param>
    /// <param name="stat">Its inode.</param>
    /// <param name="flags">With which flags it shall be opened at restore.</param>
    /// <param name="what">For messages.</param>
    public uint IdOfMapped(DumpProcess process, string link, string path, in FileStat stat, uint flags, string what)
    {
        uint inode = IdOf(process, link, path, stat, what);
        if (_mapped.TryGetValue((inode, flags), out uint id)) return id;
        FileEntry entry = context.Files.AddUnopened(FdTypes.Memfd);
        entry.Memfd = new MemfdFileEntry
        {
            Id = entry.Id,
            Flags = flags,
            Pos = 0,
            InodeId = inode,
            Fown = new FownEntry { Uid = 0, Euid = 0, Signum = 0, PidType = 0, Pid = 0 },
        };
        _mapped.Add((inode, flags), entry.Id);
        return entry.Id;
    }

    private void Write()
    {
        using ImageWriter image = context.Snapshot.Create(ImageKind.Memfd);
        foreach (MemfdInodeEntry entry in _inodes.Values) image.Add(entry);
    }
}
