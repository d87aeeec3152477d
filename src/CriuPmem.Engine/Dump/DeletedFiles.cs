using CriuPmem.Images;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.Engine.Dump;

/// <summary>Files that no path leads to any more: remap-fpath.img and what it stands for.</summary>
/// <remarks>
/// A file without any name is a ghost: its contents go into the images. One that has other names, which nobody can find,
/// gets a new one beside its old (--link-remap), which the restore takes away.
/// </remarks>
internal sealed class DeletedFiles(DumpContext context)
{
    private readonly Dictionary<(ulong Device, ulong Inode), uint> _ghosts = [];
    private readonly Dictionary<(ulong Device, ulong Inode), uint> _links = [];
    private readonly List<(RegFileEntry Entry, RemapFilePathEntry Remap)> _remaps = [];
    private readonly List<string> _made = [];

    /// <summary>Takes a deleted file up.</summary>
    /// <param name="process">Whose file it is.</param>
    /// <param name="link">The link under /proc/PID that leads to it.</param>
    /// <param name="stat">The file.</param>
    /// <param name="entry">Its entry; the id in it may come later.</param>
    /// <param name="what">For messages.</param>
    public void Add(DumpProcess process, string link, in FileStat stat, RegFileEntry entry, string what)
    {
        if (_remaps.Count == 0) context.Contents.Add(Write);
        bool isGhost = stat.st_nlink == 0 || stat.Type == S_IFDIR;
        uint target = isGhost ? Ghost(process, link, stat, what) : Link(process, link, stat, entry, what);
        _remaps.Add((entry, new RemapFilePathEntry { RemapId = target, RemapType = isGhost ? RemapType.Ghost : RemapType.Linked }));
    }

    /// <summary>Takes the links away again: the dump failed.</summary>
    public void Undo()
    {
        foreach (string path in _made) Sys.Unlink(AT_FDCWD, path);
        _made.Clear();
    }

    private uint Ghost(DumpProcess process, string link, in FileStat stat, string what)
    {
        if (_ghosts.TryGetValue((stat.st_dev, stat.st_ino), out uint known)) return known;
        long bytes = stat.Type == S_IFREG ? stat.st_blocks * 512 : 0;
        if (bytes > context.Options.GhostLimitBytes)
        {
            throw process.Fail(
                ErrorCode.GhostTooLarge, $"it was deleted, and its {bytes} bytes exceed the limit of {context.Options.GhostLimitBytes} for such files",
                $"Give --ghost-limit {bytes} or more", what);
        }

        uint id = (uint)_ghosts.Count + 1;
        _ghosts.Add((stat.st_dev, stat.st_ino), id);
        FileStat saved = stat;
        context.Contents.Add(() => Save(id, process, link, saved, what));
        return id;
    }

    private uint Link(DumpProcess process, string link, in FileStat stat, RegFileEntry entry, string what)
    {
        if (!context.Options.LinkRemap)
        {
            throw process.Fail(
                ErrorCode.NeedsLinkRemap, "it was deleted under this name, but has others that cannot be found",
                "Give --link-remap, which makes a temporary name beside the old one", what);
        }

        if (_links.TryGetValue((stat.st_dev, stat.st_ino), out uint known)) return known;
        var path = new RegFileEntry { Flags = 0, Pos = 0, Name = entry.Name };
        uint id = context.Files.AddPath(path);
        _links.Add((stat.st_dev, stat.st_ino), id);
        string old = LinuxText.Decode(entry.Name.Span);
        string name = $"{old[..(old.LastIndexOf('/') + 1)]}link_remap.{id}";
        if (!Sys.Stat(AT_FDCWD, name, out _, AT_SYMLINK_NOFOLLOW).Failed) name += $".{process.Pid}";
        path.Name = ByteString.CopyFrom(LinuxText.Encode(name));
        context.Contents.Add(() =>
        {
            SysResult made = Sys.Link(process.Proc.Fd, link, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
            if (made.Failed)
            {
                throw process.Fail(
                    ErrorCode.UnsupportedFile, $"it was deleted, and cannot get the temporary name {name}",
                    "Make its directory writable, or let the program close the file", what, made.Errno);
            }

            _made.Add(name);
        });
        return id;
    }

    private void Write()
    {
        using ImageWriter image = context.Snapshot.Create(ImageKind.RemapFpath);
        foreach ((RegFileEntry entry, RemapFilePathEntry remap) in _remaps)
        {
            remap.OrigId = entry.Id;
            image.Add(remap);
        }
    }

    private void Save(uint id, DumpProcess process, string link, in FileStat stat, string what)
    {
        var ghost = new GhostFileEntry
        {
            Uid = stat.st_uid,
            Gid = stat.st_gid,
            Mode = stat.st_mode,
            Dev = FileStat.KernelDevice(stat.st_dev),
            Ino = stat.st_ino,
            Atim = new Timeval { TvSec = (ulong)stat.st_atim_sec, TvUsec = (ulong)stat.st_atim_nsec / 1000 },
            Mtim = new Timeval { TvSec = (ulong)stat.st_mtim_sec, TvUsec = (ulong)stat.st_mtim_nsec / 1000 },
        };
        using ImageWriter image = context.Snapshot.Create(ImageKind.GhostFile, id);
        switch (stat.Type)
        {
            case S_IFREG:
                ghost.Chunks = true;
                ghost.Size = (ulong)stat.st_size;
                image.Add(ghost);
                using (OwnedFd file = Open(process, link, what)) SaveData(image, file.Fd, stat.st_size, what);
                return;
            case S_IFCHR or S_IFBLK:
                ghost.Rdev = (uint)stat.st_rdev;
                break;
            case S_IFLNK:
                ghost.SymlnkTarget = ByteString.CopyFrom(LinuxText.Encode(Target(process, link, what)));
                break;
        }

        image.Add(ghost);
    }

    private static OwnedFd Open(DumpProcess process, string link, string what)
    {
        SysResult opened = Sys.OpenAt(process.Proc.Fd, link, O_RDONLY);
        return opened.Failed
            ? throw process.Fail(ErrorCode.UnsupportedFile, "it was deleted, and its contents cannot be read", null, what, opened.Errno)
            : new OwnedFd(opened.Value);
    }

    /// <summary>What a deleted symbolic link, which is open by O_PATH, says.</summary>
    private static string Target(DumpProcess process, string link, string what)
    {
        using var handle = new OwnedFd((int)Sys.OpenAt(process.Proc.Fd, link, O_PATH).OrThrow("open", what));
        return Sys.ReadLink(handle.Fd, "", out Errno error) ?? throw process.Fail(ErrorCode.UnsupportedFile, "where the deleted link leads cannot be read", null, what, error);
    }

    /// <summary>Writes what is not a hole, stretch by stretch.</summary>
    private static void SaveData(ImageWriter image, int fd, long size, string what)
    {
        var buffer = new byte[1 << 20];
        for (long at = 0; at < size;)
        {
            SysResult data = Sys.Seek(fd, at, SEEK_DATA);
            if (data.Errno == Errno.ENXIO) return; // a hole to the end
            data.OrThrow("lseek(SEEK_DATA)", what);
            long end = Math.Min(size, Sys.Seek(fd, data.Raw, SEEK_HOLE).OrThrow("lseek(SEEK_HOLE)", what));
            if (data.Raw >= end) return;
            image.Add(new GhostChunkEntry { Off = (ulong)data.Raw, Len = (ulong)(end - data.Raw) });
            for (long done = data.Raw; done < end;)
            {
                long read = Sys.PRead(fd, buffer.AsSpan(0, (int)Math.Min(buffer.Length, end - done)), done).OrThrow("pread", what);
                if (read == 0)
                {
                    throw new CheckpointException(ErrorCode.UnsupportedFile, "a deleted file became shorter while it was saved: a process outside of the tree writes it")
                    {
                        Object = what,
                        Remedy = "Try again",
                    };
                }

                image.AddRaw(buffer.AsSpan(0, (int)read));
                done += read;
            }

            at = end;
        }
    }
}
