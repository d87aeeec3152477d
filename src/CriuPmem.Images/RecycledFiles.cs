using CriuPmem.Kernel;
using static CriuPmem.Kernel.Constants;

namespace CriuPmem.Images;

/// <summary>Pages files of replaced snapshots, kept to be written once more (dump --recycle): nothing has to be allocated and zeroed then.</summary>
/// <remarks>
/// They lie in a directory beside the images, which belongs to no snapshot. One that somebody still has open (the pager of a lazy
/// restore) is not written: a lease (fcntl(2), F_SETLEASE) is given only to who has it alone.
/// </remarks>
/// <param name="directoryFd">The images directory, which the caller has to itself.</param>
internal sealed class RecycledFiles(int directoryFd)
{
    /// <summary>Their directory.</summary>
    internal const string Name = ".criu-pmem-recycled";

    private int _kept;

    /// <summary>Puts one of them in a new pages file's place: the smallest that is large enough, or the largest.</summary>
    /// <param name="targetFd">The directory of the pages file.</param>
    /// <param name="name">Its name.</param>
    /// <param name="lengthBytes">How long it will be; a longer one is cut.</param>
    /// <returns>A descriptor for reading and writing that the caller owns; -1 when there is none that can be used.</returns>
    public int TryTake(int targetFd, string name, long lengthBytes)
    {
        using OwnedFd? directory = TryOpen();
        if (directory is null) return -1;
        List<(string Name, long LengthBytes)> files = [.. List(directory.Fd).OrderBy(static file => file.LengthBytes)];
        int fits = files.FindIndex(file => file.LengthBytes >= lengthBytes);
        if (files.Count == 0) return -1;
        string chosen = files[fits < 0 ? files.Count - 1 : fits].Name;
        SysResult opened = ImageFileCalls.OpenToWrite(directory.Fd, chosen, truncate: false, readable: true); // a new one if it has another name, too
        if (opened.Failed) return -1;
        bool isAlone = !Sys.Fcntl(opened.Value, F_SETLEASE, (int)F_WRLCK).Failed;
        if (isAlone) Sys.Fcntl(opened.Value, F_SETLEASE, (int)F_UNLCK);
        bool isTaken = isAlone && !ImageFileCalls.Rename(directory.Fd, chosen, targetFd, name).Failed;
        // In whole pages also where it grows: what tells of freed pages lies behind the last one (FreedPages).
        long kept = fits < 0 ? files[^1].LengthBytes & ~((long)Pagemap.PageBytes - 1) : lengthBytes;
        if (isTaken && !Sys.Truncate(opened.Value, kept).Failed) return opened.Value;
        ImageFileCalls.Close(opened.Value);
        ImageFileCalls.Unlink(isTaken ? targetFd : directory.Fd, isTaken ? name : chosen);
        return -1;
    }

    /// <summary>Keeps a file of a replaced snapshot; false when it has to be removed.</summary>
    public bool TryKeep(int fromFd, string name)
    {
        if (_kept == 0 && Sys.MakeDirectory(directoryFd, Name, 0x1C0 /* 0700 */) is { Failed: true, Errno: not Errno.EEXIST }) return false;
        using OwnedFd? directory = TryOpen();
        return directory is not null && !ImageFileCalls.Rename(fromFd, name, directory.Fd, $"{_kept++}").Failed;
    }

    /// <summary>Removes them: they were not used, or are not wanted.</summary>
    public void Clear()
    {
        using OwnedFd? directory = TryOpen();
        if (directory is null) return;
        foreach ((string name, _) in List(directory.Fd)) ImageFileCalls.Unlink(directory.Fd, name);
        Sys.Unlink(directoryFd, Name, AT_REMOVEDIR);
    }

    private OwnedFd? TryOpen()
    {
        SysResult opened = Sys.OpenAt(directoryFd, Name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        return opened.Failed ? null : new OwnedFd(opened.Value);
    }

    private static List<(string Name, long LengthBytes)> List(int fd)
    {
        var files = new List<(string, long)>();
        Sys.ForEachEntry(fd, name =>
        {
            if (!Sys.Stat(fd, name, out FileStat stat, AT_SYMLINK_NOFOLLOW).Failed && stat.Type == S_IFREG) files.Add((name, stat.st_size));
        });
        return files;
    }
}
