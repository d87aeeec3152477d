using CriuPmem.Engine.Resources;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Restore;

/// <summary>Makes each open file of the images once, in the engine, and keeps it until every process has it.</summary>
internal sealed class FileOpener : IDisposable
{
    private readonly Dictionary<uint, FileEntry> _entries = [];
    private readonly Dictionary<uint, int> _open = [];
    private readonly Dictionary<(uint Id, uint Flags), int> _mapped = [];
    private readonly RestoreContext _context;

    /// <summary>Indexes the images' files.</summary>
    public FileOpener(RestoreContext context)
    {
        _context = context;
        Inherited = new InheritedFiles(context);
        foreach (FileEntry entry in context.Contents.Files) _entries[entry.Id] = entry;
    }

    /// <summary>What the user gave in the place of saved files.</summary>
    public InheritedFiles Inherited { get; }

    /// <summary>The entry with an id.</summary>
    public FileEntry Entry(uint id) => _entries.TryGetValue(id, out FileEntry? entry)
        ? entry
        : throw new CheckpointException(ErrorCode.ImageDamaged, $"open file {id} is not in it") { Object = "files.img" };

    /// <summary>The engine's descriptor of an open file, made at the first call.</summary>
    public int Open(uint id)
    {
        if (_open.TryGetValue(id, out int fd)) return fd;
        FileEntry entry = Entry(id);
        FileKind kind = FileKinds.Of(entry.Type) ?? throw new CheckpointException(ErrorCode.ImageUnsupported, $"open files of the kind {entry.Type} cannot be restored yet")
        {
            Object = $"files.img, file {id}",
            Remedy = "Use a newer version, or the engine that made the images",
        };
        fd = Inherited.TryTake(kind, entry);
        if (fd < 0) fd = kind.Restore(_context, entry);
        _open.Add(id, fd);
        return fd;
    }

    /// <summary>The engine's descriptor of a file for mapping it, opened with <paramref name="flags"/> (O_RDONLY, O_RDWR).</summary>
    public int OpenMapped(uint id, uint flags)
    {
        int fd = Open(id);
        if ((Entry(id).Reg?.Flags & O_ACCMODE) == (flags & O_ACCMODE)) return fd;
        if (_mapped.TryGetValue((id, flags), out int mapped)) return mapped;
        mapped = (int)Sys.OpenAt(AT_FDCWD, $"/proc/thread-self/fd/{fd}", (int)flags & O_ACCMODE).OrThrow("open", $"files.img, file {id}");
        _mapped.Add((id, flags), mapped);
        return mapped;
    }

    /// <summary>Puts a made open file under an id: one object that comes as several files (pipes, socket pairs).</summary>
    public void Put(uint id, int fd) => _open.Add(id, fd);

    /// <summary>True when the open file exists already.</summary>
    public bool IsOpen(uint id) => _open.ContainsKey(id);

    /// <summary>Every entry of a kind.</summary>
    public IEnumerable<FileEntry> OfType(FdTypes type) => _entries.Values.Where(entry => entry.Type == type);

    /// <summary>Files that the user gave in the place of saved ones (--inherit-fd); made first, so that partners find them.</summary>
    public void OpenInherited()
    {
        if (Inherited.IsEmpty) return;
        foreach (FileEntry entry in _entries.Values)
        {
            if (_open.ContainsKey(entry.Id) || FileKinds.Of(entry.Type) is not { } kind) continue;
            int fd = Inherited.TryTake(kind, entry);
            if (fd >= 0) _open.Add(entry.Id, fd);
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (int fd in _open.Values) Sys.Close(fd);
        foreach (int fd in _mapped.Values) Sys.Close(fd);
        _open.Clear();
        _mapped.Clear();
    }
}
