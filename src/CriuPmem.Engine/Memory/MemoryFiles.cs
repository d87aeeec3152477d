using System.Globalization;
using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Memory;

/// <summary>Makes each memory file of the images once (memfd_create(2)), whoever opens or maps it.</summary>
internal sealed class MemoryFiles(RestoreContext context) : IDisposable
{
    private const uint PermissionBits = 0xFFF;

    private readonly Dictionary<ulong, OwnedFd> _made = [];

    /// <summary>Bytes of contents brought back.</summary>
    public long RestoredBytes { get; private set; }

    /// <summary>Opens a memory file; it is made, with its contents, at the first call.</summary>
    /// <param name="inodeId">The inode_id in memfd.img.</param>
    /// <param name="flags">Access mode and status flags.</param>
    /// <returns>A descriptor of a new open file, which the caller closes.</returns>
    public int Open(ulong inodeId, int flags)
    {
        if (!_made.TryGetValue(inodeId, out OwnedFd? made))
        {
            MemfdInodeEntry entry = context.Contents.Memfds.FirstOrDefault(memfd => memfd.InodeId == inodeId)
                ?? throw new CheckpointException(ErrorCode.ImageDamaged, $"memory file {inodeId} is not in it") { Object = ImageKind.Memfd.FileName() };
            _made.Add(inodeId, made = Make(entry));
        }

        string path = string.Create(CultureInfo.InvariantCulture, $"/proc/thread-self/fd/{made.Fd}");
        return (int)Sys.OpenAt(AT_FDCWD, path, flags & ~(O_CREAT | O_EXCL | O_TRUNC | FASYNC)).OrThrow("open", $"memory file {inodeId}");
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (OwnedFd fd in _made.Values) fd.Dispose();
        _made.Clear();
    }

    private OwnedFd Make(MemfdInodeEntry entry)
    {
        string name = LinuxText.Decode(entry.Name.Span);
        int given = context.Files.Inherited.TryTake($"/memfd:{name}");
        if (given >= 0) return new OwnedFd(given); // with the contents and seals that it has
        if (entry.HasHugetlbFlag) throw new CheckpointException(ErrorCode.ImageUnsupported, "memory files with huge pages (MFD_HUGETLB) cannot be restored yet") { Object = $"memfd:{name}" };
        bool anonymous = name == MemoryFileInodes.SharedAnonymous && entry.Size > 0;
        var file = new OwnedFd(anonymous ? MakeAnonymous(entry.Size) : (int)Sys.MemfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING).OrThrow("memfd_create", name));
        if (!anonymous) Sys.Truncate(file.Fd, (long)entry.Size).OrThrow("ftruncate", name);
        RestoredBytes += SharedMemory.Restore(context, entry.Shmid, file.Fd);
        Sys.Stat(file.Fd, out FileStat stat).OrThrow("fstat", name);
        if (stat.st_uid != entry.Uid || stat.st_gid != entry.Gid) Syscall.Invoke(SyscallNumber.fchown, file.Fd, entry.Uid, entry.Gid).OrThrow("fchown", name);
        if (entry.HasMode && (entry.Mode & PermissionBits) != (stat.st_mode & PermissionBits)) Syscall.Invoke(SyscallNumber.fchmod, file.Fd, entry.Mode & PermissionBits).OrThrow("fchmod", name);
        // Sealed when every mapping is there: F_SEAL_FUTURE_WRITE suffers older writable ones, but no new ones.
        if (entry.Seals != 0 && !anonymous) context.WhenTasksAreEquipped.Add(() => Sys.Fcntl(file.Fd, F_ADD_SEALS, entry.Seals).OrThrow("fcntl(F_ADD_SEALS)", $"memfd:{name}"));
        return file;
    }

    /// <summary>Shared anonymous memory has no file of its own to be opened, but one that a mapping leads to (proc_pid_map_files(5)).</summary>
    private static int MakeAnonymous(ulong sizeBytes)
    {
        ulong start = (ulong)Sys.Mmap(0, sizeBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0).OrThrow("mmap", "shared anonymous memory");
        try
        {
            ulong end = start + ((sizeBytes + PageSize - 1) & ~(PageSize - 1));
            string path = string.Create(CultureInfo.InvariantCulture, $"/proc/self/map_files/{start:x}-{end:x}");
            return (int)Sys.OpenAt(AT_FDCWD, path, O_RDWR).OrThrow("open", path);
        }
        finally
        {
            Sys.Munmap(start, sizeBytes);
        }
    }
}
