using CriuPmem.Engine.Resources;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Dump;

/// <summary>Every open file of the tree, once, with its id: what becomes files.img.</summary>
/// <remarks>
/// Two descriptors are the same open file when kcmp says so. To keep that cheap only files with the same inode, position
/// and flags are compared.
/// </remarks>
internal sealed class FileTable(DumpContext context) : IDisposable
{
    private const int ManyFiles = 200; // from here on, a second thread gains more than it costs

    private readonly Dictionary<(ulong Device, ulong Inode, ulong Position, uint Flags, string? Detail), KernelObjects> _open = [];
    private readonly Dictionary<(ulong Device, ulong Inode, string Path, uint Flags), uint> _paths = [];
    private readonly Dictionary<(uint Major, uint Minor, ulong Inode, string Name, uint Flags), uint> _mapped = [];
    private readonly List<OpenFile> _passed = [];
    private readonly Dictionary<(ulong Device, ulong Inode), uint> _fifos = [];
    private readonly Dictionary<(DumpProcess, int), KnownDescriptor> _descriptors = [];
    private readonly Dictionary<(uint Device, ulong Inode), List<KnownDescriptor>> _inodes = [];
    private DumpProcess? _engine;
    private uint _nextId = 1;

    /// <summary>The entries so far, in the order of their ids.</summary>
    public List<FileEntry> Entries { get; } = [];

    /// <summary>Descriptors that share one open file with another seen before.</summary>
    public int SharedDescriptors { get; private set; }

    /// <summary>The descriptors of <paramref name="process"/>, for its fdinfo image; dumps what is new.</summary>
    public List<FdinfoEntry> Descriptors(DumpProcess process)
    {
        var entries = new List<FdinfoEntry>();
        foreach (OpenFile file in Open(process))
        {
            using OpenFile closed = file;
            Save(file);
            context.Locks.Add(file);
            Remember(file);
            entries.Add(new FdinfoEntry { Id = file.Id, Fd = (uint)file.Fd, Type = Entries[(int)file.Id - 1].Type, Flags = file.CloseOnExec ? 1u : 0 });
        }

        return entries;
    }

    /// <summary>The id of a file that is known by its path only: mapped, or a working directory.</summary>
    /// <param name="process">Whose it is.</param>
    /// <param name="link">The link under /proc/PID that leads to it.</param>
    /// <param name="flags">With which flags it shall be opened at restore.</param>
    /// <param name="what">For messages.</param>
    public uint IdOfPath(DumpProcess process, string link, uint flags, string what)
    {
        string path = process.Proc.ReadLink(link) ?? throw process.Fail(ErrorCode.UnsupportedFile, "its path cannot be read", what: what);
        Sys.Stat(process.Proc.Fd, link, out FileStat stat).OrThrow("stat", what);
        if (_paths.TryGetValue((stat.st_dev, stat.st_ino, path, flags), out uint id)) return id;
        id = _nextId++;
        _paths.Add((stat.st_dev, stat.st_ino, path, flags), id);
        var entry = new FileEntry { Type = FdTypes.Reg, Id = id };
        Entries.Add(entry); // before others that it may need: the list is in the order of the ids
        entry.Reg = context.Paths.Entry(process, link, path, stat, what);
        entry.Reg.Id = id;
        entry.Reg.Flags = flags;
        entry.Reg.Pos = 0;
        entry.Reg.Fown = new FownEntry { Uid = 0, Euid = 0, Signum = 0, PidType = 0, Pid = 0 };
        return id;
    }

    /// <summary>The id of a file that is mapped.</summary>
    /// <param name="process">Whose mapping it is.</param>
    /// <param name="mapping">The mapping.</param>
    /// <param name="link">The link under /proc/PID that leads to the file.</param>
    /// <param name="flags">With which flags it shall be opened at restore.</param>
    /// <param name="what">For messages.</param>
    public uint IdOfMapping(DumpProcess process, in MemoryMapping mapping, string link, uint flags, string what)
    {
        var key = (mapping.DeviceMajor, mapping.DeviceMinor, mapping.Inode, mapping.Name, flags);
        if (_mapped.TryGetValue(key, out uint id)) return id;
        id = IdOfPath(process, link, flags, what);
        _mapped.Add(key, id);
        return id;
    }

    /// <summary>The id of a file that other processes, or other parts of this one, have mapped in the same way; false when it is new.</summary>
    public bool TryFindMapping(in MemoryMapping mapping, uint flags, out uint id) =>
        _mapped.TryGetValue((mapping.DeviceMajor, mapping.DeviceMinor, mapping.Inode, mapping.Name, flags), out id);

    /// <summary>The id of an open file that lies in a socket's queue, of which the engine got a copy; dumps it if it is new.</summary>
    /// <param name="fd">The copy, which is closed at the end of the dump.</param>
    public uint IdOfPassed(int fd)
    {
        if (_engine is null)
        {
            ProcDirectory self = ProcDirectory.TryOpen(Syscall.Quick(SyscallNumber.gettid).Value)!;
            _engine = new DumpProcess(self.Pid, self, self.Stat()!) { IsEngine = true };
        }

        // It stays open to the end: others are compared with it.
        OpenFile file = OpenFile.From(DescriptorScan.OwnCopy(_engine, fd));
        _passed.Add(file);
        Save(file);
        return file.Id;
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (OpenFile file in _passed)
        {
            file.Dispose();
            Sys.Close(file.Fd);
        }

        _passed.Clear();
        _engine?.Proc.Dispose();
    }

    /// <summary>Adds an entry for a file that no descriptor leads to: it is mapped, or belongs to another entry.</summary>
    public FileEntry AddUnopened(FdTypes type)
    {
        var entry = new FileEntry { Type = type, Id = _nextId++ };
        Entries.Add(entry);
        return entry;
    }

    /// <summary>What a descriptor of a process leads to; null when it is not open.</summary>
    public KnownDescriptor? Find(DumpProcess process, int fd) => _descriptors.GetValueOrDefault((process, fd));

    /// <summary>Every descriptor in the tree that leads to an inode.</summary>
    /// <param name="device">The device in the kernel's own form, as in fdinfo.</param>
    /// <param name="inode">The inode.</param>
    public IReadOnlyList<KnownDescriptor> WithInode(uint device, ulong inode) =>
        _inodes.TryGetValue((device, inode), out List<KnownDescriptor>? found) ? found : [];

    private void Remember(OpenFile file)
    {
        var known = new KnownDescriptor(file.Process, file.Fd, file.Id, FileStat.KernelDevice(file.Stat.st_dev), file.Stat.st_ino);
        _descriptors.Add((file.Process, file.Fd), known);
        if (!_inodes.TryGetValue((known.Device, known.Inode), out List<KnownDescriptor>? same)) _inodes.Add((known.Device, known.Inode), same = []);
        same.Add(known);
    }

    /// <summary>The pipe id of a FIFO: its inode's number, as the peer has it, unless another file system has the same.</summary>
    public uint FifoId(in FileStat stat)
    {
        if (_fifos.TryGetValue((stat.st_dev, stat.st_ino), out uint id)) return id;
        id = (uint)stat.st_ino;
        while (_fifos.ContainsValue(id)) id++;
        _fifos.Add((stat.st_dev, stat.st_ino), id);
        return id;
    }

    /// <summary>Adds a path that another entry names, and that no descriptor leads to; returns its id.</summary>
    public uint AddPath(RegFileEntry path)
    {
        path.Id = _nextId++;
        path.Fown ??= new FownEntry { Uid = 0, Euid = 0, Signum = 0, PidType = 0, Pid = 0 };
        Entries.Add(new FileEntry { Type = FdTypes.Reg, Id = path.Id, Reg = path });
        return path.Id;
    }

    private List<OpenFile> Open(DumpProcess process)
    {
        List<OpenFile> files = DescriptorScan.Of(process).ConvertAll(static facts => OpenFile.From(facts));
        if (files.Count < ManyFiles) return files;
        foreach (OpenFile file in files) file.PlanAhead();
        context.Side.Post(() => files.ForEach(static file => file.Prepare()));
        return files;
    }

    private void Save(OpenFile file)
    {
        FileKind kind = (context.External.Covers(file) ? FileKinds.External : FileKinds.Of(file)) ?? throw file.Fail(
            ErrorCode.UnsupportedFile, "open files of this kind cannot be saved yet", "Let the program close it, or leave it out of the tree");
        Identify(file, out bool isNew);
        if (isNew) Dump(kind, file);
    }

    private void Identify(OpenFile file, out bool isNew)
    {
        // Anonymous inodes are one inode for all: what fdinfo tells of them keeps strangers apart.
        string? detail = file.IsAnonymous ? file.Field("eventfd-id") ?? file.Field("sigmask") ?? file.Field("it_interval") : null;
        var key = (file.Stat.st_dev, file.Stat.st_ino, file.Position, file.Flags, detail);
        if (!_open.TryGetValue(key, out KernelObjects? same)) _open.Add(key, same = new KernelObjects(KCMP_FILE));
        file.Id = same.IdOf(file.Process.TaskId, file.Fd, () => _nextId++, out isNew);
        if (!isNew) SharedDescriptors++;
    }

    private void Dump(FileKind kind, OpenFile file)
    {
        var entry = new FileEntry { Type = kind.Type, Id = file.Id };
        Entries.Add(entry);
        kind.Dump(context, file, entry);
    }
}
