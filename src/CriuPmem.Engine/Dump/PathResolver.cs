using System.Buffers.Binary;
using System.Globalization;
using CriuPmem.Engine.Resources;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.Engine.Dump;

/// <summary>Decides how a file that is known by a link of /proc will be found again, and what it must look like then.</summary>
internal sealed class PathResolver(DumpContext context)
{
    private const string DeletedSuffix = " (deleted)";

    // Programs open the same file many times over; nothing moves it while the tree stands still.
    private readonly Dictionary<(string Path, bool OfLink), (ulong Device, ulong Inode)> _leads = [];
    private readonly Dictionary<(ulong Device, ulong Inode), byte[]> _buildIds = [];

    /// <summary>The entry of a file on a path, its id, flags, position and owner left to the caller.</summary>
    /// <param name="process">Whose file it is.</param>
    /// <param name="link">The link under /proc/PID that leads to it.</param>
    /// <param name="path">What that link says.</param>
    /// <param name="stat">The file itself.</param>
    /// <param name="what">For messages.</param>
    /// <param name="mayOpen">False for a file with a lease, which opening it would break.</param>
    public RegFileEntry Entry(DumpProcess process, string link, string path, in FileStat stat, string what, bool mayOpen = true)
    {
        if (!path.StartsWith('/'))
        {
            throw process.Fail(ErrorCode.UnsupportedFile, "it has no path in this mount namespace", what: what);
        }

        string name = path;
        bool found = LeadsTo(path, stat);
        if (!found) RefuseKind(process, link, path, what);
        if (!found && path.EndsWith(DeletedSuffix, StringComparison.Ordinal))
        {
            name = path[..^DeletedSuffix.Length];
            found = LeadsTo(name, stat); // deleted, and linked again since
        }
        else if (!found)
        {
            throw process.Fail(
                ErrorCode.UnsupportedFile, "its path leads to another file, or to none: another mount hides it",
                "Unmount what hides it, or restart the program", what);
        }

        var entry = new RegFileEntry { Name = ByteString.CopyFrom(LinuxText.Encode(name)), Mode = stat.st_mode };
        if (stat.Type == S_IFREG)
        {
            entry.Size = (ulong)stat.st_size;
            if (found && mayOpen && context.Options.FileValidation == FileValidation.BuildId) AddBuildId(process, link, stat, entry);
        }

        if (!found) context.Deleted.Add(process, link, stat, entry, what);
        return entry;
    }

    /// <summary>Refuses what no path can lead to, whatever it says.</summary>
    private static void RefuseKind(DumpProcess process, string link, string path, string what)
    {
        SysResult file = Sys.OpenAt(process.Proc.Fd, link, O_PATH);
        if (file.Failed) return;
        long fileSystem = Sys.FileSystemMagic(file.Value);
        Sys.Close(file.Value);
        switch (fileSystem)
        {
            case SECRETMEM_MAGIC:
                throw process.Fail(ErrorCode.UnsupportedMemory, "it is secret memory (memfd_secret), which nobody but the program can read", "Start the program without it", what);
            case MQUEUE_MAGIC:
                throw process.Fail(ErrorCode.UnsupportedFile, "it is a POSIX message queue, and those cannot be saved yet", "Let the program close it", what);
            case PROC_SUPER_MAGIC:
                throw process.Fail(ErrorCode.UnsupportedFile, "the process or thread that this file tells of has ended", "Let the program close it", what);
        }

        if (path.EndsWith(DeletedSuffix, StringComparison.Ordinal) || !link.StartsWith("fd/", StringComparison.Ordinal)) return;
        string? mount = process.Proc.ReadText("fdinfo/" + link[3..])?.Split('\n').FirstOrDefault(static line => line.StartsWith("mnt_id:", StringComparison.Ordinal))?[7..].Trim();
        string mounts = process.Proc.ReadText("mountinfo") ?? "";
        if (mount is null || mounts.StartsWith(mount + " ", StringComparison.Ordinal) || mounts.Contains($"\n{mount} ", StringComparison.Ordinal)) return;
        throw process.Fail(ErrorCode.UnsupportedFile, "it lies in a mount that was taken out of the tree of mounts (umount -l, open_tree), so that no path leads to it", "Let the program close it", what);
    }

    private bool LeadsTo(string path, in FileStat stat)
    {
        bool ofLink = stat.Type == S_IFLNK;
        if (!_leads.TryGetValue((path, ofLink), out (ulong Device, ulong Inode) there))
        {
            SysResult found = Sys.Stat(AT_FDCWD, path, out FileStat target, ofLink ? AT_SYMLINK_NOFOLLOW : 0);
            there = found.Failed ? default : (target.st_dev, target.st_ino);
            _leads.Add((path, ofLink), there);
        }

        return there == (stat.st_dev, stat.st_ino);
    }

    private static SysResult Copy(DumpProcess process, int fd) => process.CopyOf(fd);

    /// <summary>The build-id note of an ELF file (elf(5)), in words, as the images have it.</summary>
    private void AddBuildId(DumpProcess process, string link, in FileStat stat, RegFileEntry entry)
    {
        if (!_buildIds.TryGetValue((stat.st_dev, stat.st_ino), out byte[]? id))
        {
            // A descriptor is copied: opening the file anew would break a lease on it.
            SysResult fd = link.StartsWith("fd/", StringComparison.Ordinal)
                ? Copy(process, int.Parse(link.AsSpan(3), CultureInfo.InvariantCulture))
                : Sys.OpenAt(process.Proc.Fd, link, O_RDONLY);
            if (fd.Failed) return;
            id = ElfBuildId.TryRead(fd.Value);
            Sys.Close(fd.Value);
            if (id is null) return; // by this descriptor; another may be able to read
            _buildIds.Add((stat.st_dev, stat.st_ino), id);
        }

        for (int at = 0; at + 4 <= id.Length; at += 4) entry.BuildId.Add(BinaryPrimitives.ReadUInt32LittleEndian(id.AsSpan(at)));
    }
}
