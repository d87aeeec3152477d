using System.Diagnostics.CodeAnalysis;
using CriuPmem.Kernel;
using Google.Protobuf;

namespace CriuPmem.Images;

/// <summary>Reads the images of one snapshot.</summary>
internal sealed class SnapshotReader
{
    private readonly int _directoryFd;
    private readonly string _directoryName;

    /// <summary>Makes a reader; touches nothing yet.</summary>
    /// <param name="directoryFd">The images directory; stays the caller's.</param>
    /// <param name="directoryName">Its name for messages.</param>
    public SnapshotReader(int directoryFd, string directoryName)
    {
        _directoryFd = directoryFd;
        _directoryName = directoryName;
    }

    /// <summary>The directory.</summary>
    public int DirectoryFd => _directoryFd;

    /// <summary>Its name for messages.</summary>
    public string DirectoryName => _directoryName;

    /// <summary>Opens an image that must be there, and checks its header.</summary>
    /// <param name="kind">The kind.</param>
    /// <param name="id">The number in its name.</param>
    public ImageReader Open(ImageKind kind, long id = 0) =>
        TryOpen(kind, id, out ImageReader? reader) ? reader : throw Missing(kind, id);

    /// <summary>Opens an image that need not be there.</summary>
    /// <returns>False if there is no such file.</returns>
    public bool TryOpen(ImageKind kind, long id, [NotNullWhen(true)] out ImageReader? reader)
    {
        reader = null;
        string name = kind.FileName(id);
        SysResult opened = ImageFileCalls.OpenToRead(_directoryFd, name);
        if (opened.Errno == Errno.ENOENT) return false;
        if (opened.Failed) throw Failure("open", name, opened.Errno);
        SysResult length = ImageFileCalls.RegularFileLength(opened.Value);
        if (length.Failed)
        {
            ImageFileCalls.Close(opened.Value);
            throw length.Errno == Errno.EINVAL ? NotAFile(name) : Failure("look at", name, length.Errno);
        }

        var candidate = new ImageReader(kind, $"{_directoryName}/{name}", opened.Value, length.Raw);
        try
        {
            candidate.ReadHeader();
        }
        catch
        {
            candidate.Dispose();
            throw;
        }

        reader = candidate;
        return true;
    }

    /// <summary>Opens an image that need not be there; null if it is not.</summary>
    public ImageReader? OpenIfPresent(ImageKind kind, long id = 0) =>
        TryOpen(kind, id, out ImageReader? reader) ? reader : null;

    /// <summary>Reads an image of exactly one entry.</summary>
    public T ReadSingle<T>(ImageKind kind, long id = 0) where T : class, IMessage<T>, new()
    {
        using ImageReader reader = Open(kind, id);
        T entry = reader.Read(ParserOf<T>.Parser);
        if (reader.RemainingBytes != 0) throw reader.Damaged($"{reader.RemainingBytes} bytes follow the only entry");
        return entry;
    }

    /// <summary>Reads all entries of an image that must be there and has no contents between its entries.</summary>
    public IReadOnlyList<T> ReadAll<T>(ImageKind kind, long id = 0) where T : class, IMessage<T>, new()
    {
        using ImageReader reader = Open(kind, id);
        return ReadAll<T>(reader);
    }

    /// <summary>As <see cref="ReadAll{T}(ImageKind,long)"/>; empty if there is no such file.</summary>
    public IReadOnlyList<T> ReadAllIfPresent<T>(ImageKind kind, long id = 0) where T : class, IMessage<T>, new()
    {
        using ImageReader? reader = OpenIfPresent(kind, id);
        return reader is null ? [] : ReadAll<T>(reader);
    }

    /// <summary>Opens a file of contents for reading: pages and the like.</summary>
    /// <param name="kind">The kind.</param>
    /// <param name="id">The number in its name.</param>
    /// <param name="lengthBytes">The file's length.</param>
    /// <returns>A descriptor that the caller owns.</returns>
    public int OpenRaw(ImageKind kind, long id, out long lengthBytes)
    {
        string name = kind.FileName(id);
        SysResult opened = ImageFileCalls.OpenToRead(_directoryFd, name);
        if (opened.Errno == Errno.ENOENT) throw Missing(kind, id);
        if (opened.Failed) throw Failure("open", name, opened.Errno);
        SysResult length = ImageFileCalls.RegularFileLength(opened.Value);
        if (length.Failed)
        {
            ImageFileCalls.Close(opened.Value);
            throw length.Errno == Errno.EINVAL ? NotAFile(name) : Failure("look at", name, length.Errno);
        }

        lengthBytes = length.Raw;
        return opened.Value;
    }

    /// <summary>The length of an image file in bytes, or -1 if it is not there.</summary>
    public long LengthOf(ImageKind kind, long id = 0)
    {
        SysResult opened = ImageFileCalls.OpenToRead(_directoryFd, kind.FileName(id));
        if (opened.Errno == Errno.ENOENT) return -1;
        if (opened.Failed) throw Failure("open", kind.FileName(id), opened.Errno);
        SysResult length = ImageFileCalls.RegularFileLength(opened.Value);
        ImageFileCalls.Close(opened.Value);
        return length.Failed ? throw NotAFile(kind.FileName(id)) : length.Raw;
    }

    /// <summary>The bytes of pages in a pages file, compressed or not; -1 if it is not there.</summary>
    public long PagesBytes(uint pagesId, bool compressed)
    {
        if (!compressed || LengthOf(ImageKind.CompressedPages, pagesId) < 0) return LengthOf(compressed ? ImageKind.CompressedPages : ImageKind.Pages, pagesId);
        using var file = new OwnedFd(OpenRaw(ImageKind.CompressedPages, pagesId, out _));
        using var reader = CompressedPagesReader.Open(file.Fd, $"{_directoryName}/{ImageKind.CompressedPages.FileName(pagesId)}");
        return reader.PlainBytes;
    }

    /// <summary>True if the snapshot continues an older one, to which its "parent" leads.</summary>
    /// <remarks>A link that leads nowhere is one, too: the chain is broken, not absent.</remarks>
    public bool HasParent() => !Sys.Stat(_directoryFd, "parent", out _, Constants.AT_SYMLINK_NOFOLLOW).Failed;

    /// <summary>Opens a pages file for writing, its contents kept.</summary>
    public int OpenToPunch(uint pagesId)
    {
        string name = ImageKind.Pages.FileName(pagesId);
        SysResult opened = ImageFileCalls.OpenToChange(_directoryFd, name); // never a new one in its place: the pages would be gone
        return opened.Failed ? throw Failure("open", name, opened.Errno) : opened.Value;
    }

    /// <summary>The names of all files in the directory, in no order.</summary>
    public List<string> FileNames()
    {
        var names = new List<string>();
        SysResult opened = ImageFileCalls.OpenDirectory(_directoryFd, ".");
        if (opened.Failed) throw Failure("read", ".", opened.Errno);
        Sys.ForEachEntry(opened.Value, names.Add);
        ImageFileCalls.Close(opened.Value);
        return names;
    }

    /// <summary>Opens the snapshot that this one continues; false when it continues none.</summary>
    public bool TryOpenParent([NotNullWhen(true)] out SnapshotReader? parent)
    {
        parent = null;
        SysResult opened = ImageFileCalls.OpenDirectory(_directoryFd, "parent");
        if (opened.Errno == Errno.ENOENT && !HasParent()) return false;
        if (opened.Errno is Errno.ENOENT or Errno.ENOTDIR) throw MissingParent();
        if (opened.Failed) throw Failure("open", "parent", opened.Errno);
        parent = new SnapshotReader(opened.Value, $"{_directoryName}/parent");
        return true;
    }

    /// <summary>True when both lead to the same directory.</summary>
    public bool IsSameDirectory(SnapshotReader other) =>
        !Sys.Stat(_directoryFd, out FileStat own).Failed && !Sys.Stat(other._directoryFd, out FileStat theirs).Failed &&
        own.st_dev == theirs.st_dev && own.st_ino == theirs.st_ino;

    /// <summary>Closes the directory of a parent.</summary>
    public void Close() => ImageFileCalls.Close(_directoryFd);

    /// <summary>An exception about an image of this snapshot.</summary>
    public CheckpointException Damaged(string fileName, string cause) => new(ErrorCode.ImageDamaged, cause)
    {
        Object = $"{_directoryName}/{fileName}",
        Remedy = "Restore from another snapshot, or dump again.",
    };

    private static List<T> ReadAll<T>(ImageReader reader) where T : class, IMessage<T>, new()
    {
        var entries = new List<T>();
        while (reader.TryRead(ParserOf<T>.Parser, out T? entry)) entries.Add(entry);
        return entries;
    }

    private CheckpointException Missing(ImageKind kind, long id) =>
        new(ErrorCode.ImageMissing, "the image is missing")
        {
            Object = $"{_directoryName}/{kind.FileName(id)}",
            Remedy = kind == ImageKind.Inventory
                ? "This is no images directory, or its dump did not finish: give another one (-D), or dump again."
                : "The snapshot is not complete: restore from another one, or dump again.",
        };

    private CheckpointException MissingParent() =>
        new(ErrorCode.ImageMissing, $"the snapshot before, which this one continues, is not at {Sys.ReadLink(_directoryFd, "parent", out _) ?? "its place"}")
        {
            Object = $"{_directoryName}/parent",
            Remedy = "All snapshots of a chain are needed, side by side as they were made: put it back, or restore another one.",
        };

    private CheckpointException NotAFile(string name) =>
        new(ErrorCode.ImageDamaged, "the image is not a regular file")
        {
            Object = $"{_directoryName}/{name}",
            Remedy = "Images are plain files: restore from another snapshot, or dump again.",
        };

    private CheckpointException Failure(string action, string name, Errno errno) =>
        new(ErrorCode.ImagesDirectory, $"cannot {action} the image")
        {
            Object = $"{_directoryName}/{name}",
            Errno = errno,
            Remedy = errno switch
            {
                Errno.EACCES => "Restore as the user who owns the images, or as root.",
                Errno.ELOOP => "It is a symbolic link that leads in a circle: remove it, and restore from another snapshot.",
                _ => null,
            },
        };

    private static class ParserOf<T> where T : class, IMessage<T>, new()
    {
        public static readonly MessageParser<T> Parser = new(static () => new T());
    }
}
