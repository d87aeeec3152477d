using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Engine.Transfer;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>
/// Contents of what lies in the kernel's own tmpfs (memory files, shared anonymous memory): each object once, in
/// pagemap-shmem-ID.img and a pages file, whoever has it open or mapped.
/// </summary>
/// <remarks>Saved is what was ever written (lseek(2), SEEK_DATA); holes stay holes.</remarks>
internal sealed unsafe class SharedMemory
{
    private const int MaxWriteBytes = 1 << 30; // Linux writes at most 2 GiB - 4 KiB in one call

    private readonly Dictionary<(ulong Device, ulong Inode), uint> _ids = [];
    private readonly HashSet<uint> _taken = [0];
    private readonly List<Segment> _segments = [];

    /// <summary>The id (shmid) of an object; notes that its contents are to be saved when it is new.</summary>
    /// <param name="stat">The object.</param>
    /// <param name="process">A process that has it.</param>
    /// <param name="link">The link under /proc/PID that leads to it: fd/N, or map_files/START-END.</param>
    /// <param name="what">For messages.</param>
    public uint IdOf(in FileStat stat, DumpProcess process, string link, string what)
    {
        if (_ids.TryGetValue((stat.st_dev, stat.st_ino), out uint id)) return id;
        // The inode's number, as the peer has it, unless another file system has the same.
        id = (uint)stat.st_ino;
        while (!_taken.Add(id)) id++;
        _ids.Add((stat.st_dev, stat.st_ino), id);
        if (stat.st_size > 0) _segments.Add(new Segment(id, process, link, what));
        return id;
    }

    /// <summary>Saves all contents; returns how many pages there were.</summary>
    public long Save(IPageStore store)
    {
        long pages = 0;
        foreach (Segment segment in _segments) pages += Save(segment, store);
        return pages;
    }

    /// <summary>Puts the contents of object <paramref name="id"/> into a new one, which has its size already.</summary>
    /// <param name="context">The restore.</param>
    /// <param name="id">The id (shmid).</param>
    /// <param name="fd">A descriptor of the new object, open for writing; its position is not used.</param>
    /// <returns>Bytes brought back.</returns>
    public static long Restore(RestoreContext context, ulong id, int fd)
    {
        if (context.PagesOfShared(id) is not { Runs.Count: > 0 } pages) return 0;
        string name = ImageKind.PagemapShmem.FileName((long)id);
        Sys.Stat(fd, out FileStat stat).OrThrow("fstat", name);
        long restored = 0;
        for (int file = 0; file < pages.Files.Count; file++) restored += RestoreFrom(pages, file, fd, stat.st_size, name);
        return restored;
    }

    private static long RestoreFrom(SavedPages pages, int file, int fd, long sizeBytes, string name)
    {
        using PagesContents source = PagesContents.Open(pages.Files[file]);
        long restored = 0;
        foreach (SavedRun run in pages.Runs)
        {
            if (run.File != file) continue;
            // The last page may reach beyond the end of the object.
            long inside = Math.Max(0, Math.Min((long)run.LengthBytes, sizeBytes - (long)run.Start));
            for (ulong done = 0; done < (ulong)inside;)
            {
                byte* from = source.At(run.Offset + done, (ulong)inside - done, out ulong part);
                Write(fd, from, (long)part, (long)(run.Start + done), name);
                done += part;
            }

            restored += inside;
        }

        return restored;
    }

    private static void Write(int fd, byte* from, long bytes, long offset, string name)
    {
        for (long done = 0; done < bytes;)
        {
            int part = (int)Math.Min(bytes - done, MaxWriteBytes);
            done += Sys.PWrite(fd, new ReadOnlySpan<byte>(from + done, part), offset + done).OrThrow("pwrite", name);
        }
    }

    private static long Save(Segment segment, IPageStore store)
    {
        // Opened anew: a copy of the program's descriptor would share its position.
        using OwnedFd file = Sys.OpenOrThrow(segment.Process.Proc.Fd, segment.Link, O_RDONLY);
        return store.SaveShared(segment.Process, segment.Id, Runs(file.Fd, segment.What), file.Fd);
    }

    private static List<PageRun> Runs(int fd, string what)
    {
        var runs = new List<PageRun>();
        for (long end = 0; ;)
        {
            SysResult data = Sys.Seek(fd, end, SEEK_DATA);
            if (data.Errno == Errno.ENXIO) return runs; // nothing but a hole is left
            long start = data.OrThrow("lseek(SEEK_DATA)", what);
            end = Sys.Seek(fd, start, SEEK_HOLE).OrThrow("lseek(SEEK_HOLE)", what);
            runs.Add(new PageRun((ulong)start & ~(PageSize - 1), ((ulong)end + PageSize - 1) & ~(PageSize - 1), 0, true));
        }
    }

    private sealed record Segment(uint Id, DumpProcess Process, string Link, string What);
}
