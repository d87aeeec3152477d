using CriuPmem.Kernel;
using static CriuPmem.Kernel.Constants;

namespace CriuPmem.Images;

/// <summary>Puts a new snapshot in the place of the one that a directory holds: at any instant one of the two is whole.</summary>
/// <remarks>
/// <code>
/// DIR/                     DIR/.criu-pmem-new/             DIR/.criu-pmem-old/
/// old set                  new set                                                   a dump: the old set is not touched
/// old set                  new set, inventory.img                                    Publish: the new one is complete
///                          new set, inventory.img          inventory.img …           the old set moves out: from here on the new one counts
///                          new set, inventory.img.last     old set                   it is out; the new one moves in
/// new set, inventory.img                                   old set                   until Drop it can be undone
/// </code>
/// Whatever stands there after a crash, <see cref="Recover"/> brings to the first or the last of these lines. Only files
/// that an <see cref="ImageKind"/> names move, and the link "parent"; statistics stay, they belong to the work directory.
/// </remarks>
internal sealed class SnapshotSwap
{
    private const string NewName = ".criu-pmem-new";
    private const string OldName = ".criu-pmem-old";
    private const string Parent = "parent";

    /// <summary>The directory of pages that processes have in common; "parent" leads to it.</summary>
    internal const string Common = ".criu-pmem-common";
    private const string Last = "inventory.img.last";

    private readonly int _directoryFd;
    private readonly bool _sync;
    private readonly Func<string, string, Errno, CheckpointException> _failure;

    [ThreadStatic]
    private static Action? s_beforeMove;

    private SnapshotSwap(int directoryFd, bool sync, Func<string, string, Errno, CheckpointException> failure)
    {
        _directoryFd = directoryFd;
        _sync = sync;
        _failure = failure;
    }

    /// <summary>Where the new set is written; -1 while there is no such directory.</summary>
    public int NewFd { get; private set; } = -1;

    /// <summary>For tests: called before each renaming; what it throws is a crash.</summary>
    internal static Action? BeforeMove
    {
        get => s_beforeMove;
        set => s_beforeMove = value;
    }

    private int OldFd { get; set; } = -1;

    private static string Inventory => ImageKind.Inventory.FileName();

    /// <summary>True when a dump was cut off there in such a way that the directory has to be put in order to be read.</summary>
    public static bool NeedsRecovery(int directoryFd) =>
        !Exists(directoryFd, Inventory) && (Exists(directoryFd, NewName) || Exists(directoryFd, OldName));

    /// <summary>Puts in order what a dump left that was cut off; the caller has the directory to itself.</summary>
    /// <param name="directoryFd">The images directory.</param>
    /// <param name="sync">Make it durable.</param>
    /// <param name="failure">Makes an exception of an action, a file name and an error.</param>
    public static void Recover(int directoryFd, bool sync, Func<string, string, Errno, CheckpointException> failure)
    {
        var swap = new SnapshotSwap(directoryFd, sync, failure);
        try
        {
            swap.NewFd = swap.OpenIfPresent(NewName);
            swap.OldFd = swap.OpenIfPresent(OldName);
            if (!Exists(directoryFd, Inventory))
            {
                bool isOut = swap.NewFd >= 0 && Exists(swap.NewFd, Last);
                if (isOut || (swap.NewFd >= 0 && Exists(swap.NewFd, Inventory))) swap.MoveIn(isOut);
                else if (swap.OldFd >= 0) swap.MoveBack();
            }

            swap.Drop();
        }
        finally
        {
            swap.Close();
        }
    }

    /// <summary>Makes the directory for a new set, if the images directory holds a complete snapshot; else null.</summary>
    public static SnapshotSwap? TryBegin(int directoryFd, bool sync, Func<string, string, Errno, CheckpointException> failure)
    {
        if (!Exists(directoryFd, Inventory)) return null;
        var swap = new SnapshotSwap(directoryFd, sync, failure);
        swap.NewFd = swap.Make(NewName);
        return swap;
    }

    /// <summary>The new set, all of it durable but for its inventory's name, takes the old one's place.</summary>
    /// <param name="inventory">The name under which the inventory was written.</param>
    public void Publish(string inventory)
    {
        Move(NewFd, inventory, NewFd, Inventory);
        Sync(NewFd);
        OldFd = Make(OldName);
        Move(_directoryFd, Inventory, OldFd, Inventory);
        Sync(_directoryFd);
        MoveIn(false);
    }

    /// <summary>Forgets the old set, or what is left of either.</summary>
    /// <param name="recycled">Keeps the pages files of the old set; null removes them, too.</param>
    public void Drop(RecycledFiles? recycled = null)
    {
        Discard(OldName, OldFd, recycled);
        Discard(NewName, NewFd, null);
        Close();
    }

    /// <summary>Brings the old set back, if it was touched.</summary>
    /// <param name="published">The names that the new set has in the images directory, if it was published.</param>
    public void Undo(IReadOnlyCollection<string> published)
    {
        foreach (string name in (ReadOnlySpan<string>)[Inventory, Last]) ImageFileCalls.Unlink(NewFd, name);
        if (OldFd >= 0)
        {
            if (Exists(OldFd, Inventory)) ImageFileCalls.Unlink(_directoryFd, Inventory);
            // Where moving in was cut short, some of these names are still the old set's.
            foreach (string name in published)
            {
                if (!Exists(NewFd, name)) Remove(_directoryFd, name);
            }

            MoveBack();
        }

        Drop();
    }

    private void MoveIn(bool isOut)
    {
        if (!isOut)
        {
            if (OldFd < 0) OldFd = Make(OldName);
            foreach (string name in Names(_directoryFd)) Move(_directoryFd, name, OldFd, name);
            Sync(OldFd);
            Sync(_directoryFd);
            Move(NewFd, Inventory, NewFd, Last);
            Sync(NewFd);
        }

        foreach (string name in Names(NewFd)) Move(NewFd, name, _directoryFd, name);
        Sync(_directoryFd);
        Move(NewFd, Last, _directoryFd, Inventory);
        Sync(_directoryFd);
    }

    private void MoveBack()
    {
        foreach (string name in Names(OldFd))
        {
            if (name != Inventory) Move(OldFd, name, _directoryFd, name);
        }

        Sync(_directoryFd);
        if (Exists(OldFd, Inventory)) Move(OldFd, Inventory, _directoryFd, Inventory);
        Sync(_directoryFd);
    }

    private void Discard(string name, int fd, RecycledFiles? recycled)
    {
        if (fd < 0) return;
        foreach (string file in Names(fd))
        {
            bool isPages = ImageKind.FromFileName(file, out _) == ImageKind.Pages;
            if (recycled is null || !isPages || !recycled.TryKeep(fd, file)) Remove(fd, file);
        }

        foreach (string file in (ReadOnlySpan<string>)[Last, SnapshotWriter.NewInventory]) ImageFileCalls.Unlink(fd, file);
        Sys.Unlink(_directoryFd, name, AT_REMOVEDIR);
    }

    private void Close()
    {
        if (NewFd >= 0) ImageFileCalls.Close(NewFd);
        if (OldFd >= 0) ImageFileCalls.Close(OldFd);
        NewFd = OldFd = -1;
    }

    private int Make(string name)
    {
        SysResult made = Sys.MakeDirectory(_directoryFd, name, 0x1C0 /* 0700 */);
        if (made.Failed) throw _failure("make", name, made.Errno);
        int fd = OpenIfPresent(name);
        return fd >= 0 ? fd : throw _failure("open", name, Errno.ENOENT);
    }

    private int OpenIfPresent(string name)
    {
        SysResult opened = Sys.OpenAt(_directoryFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (opened.Errno == Errno.ENOENT) return -1;
        return opened.Failed ? throw _failure("open", name, opened.Errno) : opened.Value;
    }

    private void Move(int from, string name, int to, string newName)
    {
        BeforeMove?.Invoke();
        SysResult moved = ImageFileCalls.Rename(from, name, to, newName);
        if (moved.Failed) throw _failure("rename", name, moved.Errno);
    }

    private void Sync(int fd)
    {
        if (!_sync) return;
        SysResult synced = ImageFileCalls.Fsync(fd);
        if (synced.Failed) throw _failure("sync", ".", synced.Errno);
    }

    /// <summary>The names in a directory that are a snapshot's.</summary>
    private List<string> Names(int directoryFd)
    {
        var names = new List<string>();
        SysResult opened = Sys.OpenAt(directoryFd, ".", O_RDONLY | O_DIRECTORY); // with a position of its own
        if (opened.Failed) throw _failure("list", ".", opened.Errno);
        Sys.ForEachEntry(opened.Value, name =>
        {
            bool isImage = ImageKind.FromFileName(name, out _) is { Framing: not ImageFraming.Service };
            if (isImage || name == Common || (name == Parent && IsLink(directoryFd, name))) names.Add(name);
        });
        ImageFileCalls.Close(opened.Value);
        return names;
    }

    /// <summary>Removes an image, or the directory of common pages with what is in it.</summary>
    internal static void Remove(int directoryFd, string name)
    {
        if (name != Common)
        {
            ImageFileCalls.Unlink(directoryFd, name);
            return;
        }

        SysResult opened = Sys.OpenAt(directoryFd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        if (opened.Errno is Errno.ENOTDIR or Errno.ELOOP) ImageFileCalls.Unlink(directoryFd, name); // of somebody else's making
        if (opened.Failed) return;
        var names = new List<string>();
        Sys.ForEachEntry(opened.Value, names.Add);
        foreach (string file in names) ImageFileCalls.Unlink(opened.Value, file);
        ImageFileCalls.Close(opened.Value);
        Sys.Unlink(directoryFd, name, AT_REMOVEDIR);
    }

    private static bool IsLink(int directoryFd, string name) =>
        !Sys.Stat(directoryFd, name, out FileStat stat, AT_SYMLINK_NOFOLLOW).Failed && stat.Type == S_IFLNK;

    private static bool Exists(int directoryFd, string name) => !Sys.Stat(directoryFd, name, out _, AT_SYMLINK_NOFOLLOW).Failed;
}
