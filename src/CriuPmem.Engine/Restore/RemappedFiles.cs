using System.Globalization;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Restore;

/// <summary>Files whose paths lead nowhere (remap-fpath.img): made again, opened, and left without a name, as they were.</summary>
/// <remarks>
/// /proc/PID/fd shows a deleted file under the name that it had last. So it gets that name for an instant. Where another
/// file has the name now, the two are exchanged and the other one is put back over ours: its name never leads nowhere.
/// </remarks>
internal sealed class RemappedFiles : IDisposable
{
    private readonly RestoreContext _context;
    private readonly Dictionary<uint, RemapFilePathEntry> _remaps = [];
    private readonly Dictionary<uint, OwnedFd> _handles = []; // file id → O_PATH descriptor
    private readonly Dictionary<uint, OwnedFd> _open = []; // file id → the open file itself
    private readonly HashSet<string> _links = [];

    /// <summary>Indexes the images' remaps; makes nothing yet.</summary>
    public RemappedFiles(RestoreContext context)
    {
        _context = context;
        foreach (RemapFilePathEntry remap in context.Contents.Remaps) _remaps[remap.OrigId] = remap;
    }

    /// <summary>True when the entry's path does not lead to the file.</summary>
    public bool Contains(RegFileEntry file) => _remaps.ContainsKey(file.Id);

    /// <summary>A path under which the engine can open the file now.</summary>
    public string PathOf(RegFileEntry file)
    {
        if (!_remaps.TryGetValue(file.Id, out RemapFilePathEntry? remap)) return Name(file);
        if (!_handles.ContainsKey(file.Id)) Make(remap);
        return Handle(_handles[file.Id].Fd);
    }

    /// <summary>Opens the file (open(2)).</summary>
    public SysResult Open(RegFileEntry file, int flags)
    {
        string path = PathOf(file);
        if (!Contains(file)) return Sys.OpenAt(AT_FDCWD, path, flags);
        if (_open.Remove(file.Id, out OwnedFd? made)) return new SysResult(made.Release());
        return Sys.OpenAt(AT_FDCWD, path, flags & ~O_NOFOLLOW);
    }

    /// <summary>Takes the temporary links of the dump away: nothing can fail any more.</summary>
    public void Commit()
    {
        foreach (string link in _links)
        {
            SysResult gone = Sys.Unlink(AT_FDCWD, link);
            if (gone.Failed) _context.Log.Warn("files", $"the temporary name {link} cannot be removed: {gone.Errno.Describe()}");
        }

        _links.Clear();
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (OwnedFd fd in _handles.Values) fd.Dispose();
        foreach (OwnedFd fd in _open.Values) fd.Dispose();
    }

    private static string Name(RegFileEntry file) => LinuxText.Decode(file.Name.Span);

    private static string Handle(int fd) => string.Create(CultureInfo.InvariantCulture, $"/proc/thread-self/fd/{fd}");

    private static string Parent(string path) => path.LastIndexOf('/') is > 0 and int slash ? path[..slash] : "/";

    private void Make(RemapFilePathEntry remap)
    {
        bool isGhost = SnapshotContents.IsGhost(remap);
        if (!isGhost && remap.RemapType == RemapType.Procfs)
        {
            throw new CheckpointException(ErrorCode.ImageUnsupported, "a file of /proc of a process that is gone cannot be restored yet") { Object = Name(_context.Files.Entry(remap.OrigId).Reg) };
        }

        RegFileEntry[] users =
        [
            .. _remaps.Values.Where(other => other.RemapId == remap.RemapId && SnapshotContents.IsGhost(other) == isGhost)
                .Select(other => _context.Files.Entry(other.OrigId).Reg),
        ];
        using var parents = new TemporaryDirectories();
        foreach (RegFileEntry user in users) parents.Need(Parent(Name(user)));
        if (isGhost) MakeGhost(remap.RemapId & 0x7FFF_FFFF, users);
        else UseLink(Name(_context.Files.Entry(remap.RemapId).Reg), users);
    }

    private void UseLink(string link, RegFileEntry[] users)
    {
        SysResult there = Sys.Stat(AT_FDCWD, link, out FileStat stat, AT_SYMLINK_NOFOLLOW);
        if (there.Failed)
        {
            throw new CheckpointException(ErrorCode.FileMissing, $"the temporary name that the dump gave to {Name(users[0])} is gone")
            {
                Object = link,
                Errno = there.Errno,
                Remedy = "Such images can be restored only once; make a new dump",
            };
        }

        Appear(link, stat.Type, users);
        _links.Add(link);
    }

    private void MakeGhost(uint id, RegFileEntry[] users)
    {
        using ImageReader image = _context.Reader.Open(ImageKind.GhostFile, id);
        GhostFileEntry ghost = image.Read(GhostFileEntry.Parser);
        RegFileEntry? nameless = Array.Find(users, user => (user.Flags & O_TMPFILE) == O_TMPFILE);
        if (nameless is not null && MakeNameless(image, ghost, nameless, users)) return;
        string temporary = $"{Parent(Name(users[0]))}/.criu-pmem.{Sys.GetPid()}.{id}";
        Create(image, ghost, temporary);
        try
        {
            Appear(temporary, ghost.Mode & S_IFMT, users);
        }
        finally
        {
            Sys.Unlink(AT_FDCWD, temporary, (ghost.Mode & S_IFMT) == S_IFDIR ? AT_REMOVEDIR : 0);
        }
    }

    /// <summary>A file that never had a name (O_TMPFILE) is made by the same call; false where there is no such call.</summary>
    private bool MakeNameless(ImageReader image, GhostFileEntry ghost, RegFileEntry nameless, RegFileEntry[] users)
    {
        SysResult opened = Sys.OpenAt(AT_FDCWD, Parent(Name(nameless)), (int)nameless.Flags & ~(O_CREAT | O_EXCL | FASYNC), 0x1B6);
        if (opened.Failed) return false;
        var file = new OwnedFd(opened.Value);
        _open.Add(nameless.Id, file);
        FillAndMark(image, ghost, file.Fd, Handle(file.Fd));
        foreach (RegFileEntry user in users) _handles[user.Id] = Sys.OpenOrThrow(AT_FDCWD, Handle(file.Fd), O_PATH);
        return true;
    }

    private static void Create(ImageReader image, GhostFileEntry ghost, string path)
    {
        uint type = ghost.Mode & S_IFMT;
        Sys.Unlink(AT_FDCWD, path); // of a restore that was killed
        SysResult made = type switch
        {
            S_IFREG => Sys.OpenAt(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL, 0x180),
            S_IFDIR => Sys.MakeDirectory(AT_FDCWD, path, 0x1C0),
            S_IFLNK => Sys.MakeSymbolicLink(ghost.SymlnkTarget.Span, AT_FDCWD, path),
            _ => Sys.MakeNode(AT_FDCWD, path, type | 0x180, ghost.Rdev),
        };
        if (made.Failed)
        {
            throw new CheckpointException(ErrorCode.FileMissing, "a deleted file of the program cannot be made again here")
            {
                Object = path,
                Errno = made.Errno,
                Remedy = "Make the directory writable and its file system have space",
            };
        }

        using var file = new OwnedFd(type == S_IFREG ? made.Value : -1);
        FillAndMark(image, ghost, file.Fd, path);
    }

    private static void FillAndMark(ImageReader image, GhostFileEntry ghost, int fd, string path)
    {
        uint type = ghost.Mode & S_IFMT;
        if (type == S_IFREG) Fill(image, ghost, fd, path);
        bool isLink = path.StartsWith("/proc/", StringComparison.Ordinal);
        if (isLink) Syscall.Invoke(SyscallNumber.fchown, fd, ghost.Uid, ghost.Gid).OrThrow("fchown", path);
        else Sys.ChangeOwner(AT_FDCWD, path, ghost.Uid, ghost.Gid).OrThrow("fchownat", path);
        if (type != S_IFLNK) Sys.ChangeMode(AT_FDCWD, path, ghost.Mode & 0xFFF).OrThrow("fchmodat", path);
        if (ghost.Atim is null || ghost.Mtim is null || isLink) return;
        Sys.ChangeTimes(
            AT_FDCWD, path, ((long)ghost.Atim.TvSec, (long)ghost.Atim.TvUsec * 1000), ((long)ghost.Mtim.TvSec, (long)ghost.Mtim.TvUsec * 1000));
    }

    private static void Fill(ImageReader image, GhostFileEntry ghost, int fd, string path)
    {
        if (!ghost.Chunks)
        {
            Copy(image, image.RemainingBytes, fd, 0, path);
            return;
        }

        while (image.TryRead(GhostChunkEntry.Parser, out GhostChunkEntry? chunk)) Copy(image, (long)chunk.Len, fd, (long)chunk.Off, path);
        Sys.Truncate(fd, (long)ghost.Size).OrThrow("ftruncate", path);
    }

    private static void Copy(ImageReader image, long lengthBytes, int fd, long offset, string path)
    {
        while (lengthBytes > 0)
        {
            ReadOnlySpan<byte> bytes = image.ReadRaw(Math.Min(lengthBytes, 1 << 20));
            for (int done = 0; done < bytes.Length;)
            {
                done += (int)Sys.PWrite(fd, bytes[done..], offset + done).OrThrow("pwrite", path);
            }

            lengthBytes -= bytes.Length;
            offset += bytes.Length;
        }
    }

    /// <summary>Opens a file under each name that it shall have had, and takes the names away again.</summary>
    private void Appear(string source, uint type, RegFileEntry[] users)
    {
        // A directory has one name in its life, so it appears once; a symbolic link cannot be opened again through /proc.
        foreach (IGrouping<string, RegFileEntry> group in users.GroupBy(user => type == S_IFDIR ? Name(users[0]) : Name(user)))
        {
            OwnedFd first = AppearAs(source, group.Key, type, O_PATH | O_NOFOLLOW);
            foreach (RegFileEntry user in group)
            {
                _handles[user.Id] = user == group.First() ? first : new OwnedFd((int)Sys.Fcntl(first.Fd, F_DUPFD_CLOEXEC).OrThrow("fcntl(F_DUPFD)", group.Key));
                if (type == S_IFLNK) _open[user.Id] = AppearAs(source, group.Key, type, (int)user.Flags | O_NOFOLLOW);
            }
        }
    }

    private OwnedFd AppearAs(string source, string name, uint type, int flags)
    {
        SysResult named = type == S_IFDIR
            ? Sys.Rename(source, name, RENAME_NOREPLACE)
            : Sys.Link(AT_FDCWD, source, AT_FDCWD, name, 0);
        if (named.Errno == Errno.EEXIST) return TakePlaceOf(source, name, type, flags);
        named.OrThrow("giving a deleted file its name", name);
        OwnedFd file = Sys.OpenOrThrow(AT_FDCWD, name, flags);
        Sys.Unlink(AT_FDCWD, name, type == S_IFDIR ? AT_REMOVEDIR : 0).OrThrow("unlink", name);
        return file;
    }

    private OwnedFd TakePlaceOf(string source, string name, uint type, int flags)
    {
        Sys.Stat(AT_FDCWD, source, out FileStat own, AT_SYMLINK_NOFOLLOW).OrThrow("stat", source);
        Sys.Stat(AT_FDCWD, name, out FileStat other, AT_SYMLINK_NOFOLLOW).OrThrow("stat", name);
        if (own.st_dev == other.st_dev && own.st_ino == other.st_ino) return Sys.OpenOrThrow(AT_FDCWD, name, flags);
        string spare = source;
        if (type != S_IFDIR)
        {
            spare = $"{Parent(name)}/.criu-pmem.{Sys.GetPid()}";
            Sys.Link(AT_FDCWD, source, AT_FDCWD, spare, 0).OrThrow("link", spare);
        }

        // A directory and a file cannot replace one another afterwards.
        bool exchanged = (type == S_IFDIR) == (other.Type == S_IFDIR) && !Sys.Rename(spare, name, RENAME_EXCHANGE).Failed;
        SysResult opened = Sys.OpenAt(AT_FDCWD, exchanged ? name : spare, flags);
        if (exchanged) Sys.Rename(spare, name, 0).OrThrow("putting a file back to its name", name);
        else if (type != S_IFDIR) Sys.Unlink(AT_FDCWD, spare);
        if (!exchanged) _context.Log.Warn("files", $"{name} belongs to something else now: the program's deleted file shows another name");
        return new OwnedFd((int)opened.OrThrow("open", name));
    }
}
