using System.Globalization;
using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>Locks on files: flock(2), record locks of processes and of open files (fcntl_locking(2)), leases.</summary>
/// <remarks>
/// /proc/PID/fdinfo shows, for each descriptor:
/// <code>lock:   1: POSIX  ADVISORY  WRITE 4711 00:1b:39794 10 EOF      (kind, state, type, pid, file, first and last byte)</code>
/// A record lock of a process is shown with every descriptor of the file.
/// </remarks>
internal sealed class FileLocks(DumpContext context)
{
    private const uint Posix = 1, Flock = 2, Ofd = 4, Lease = 8;
    private const long ManyDescriptors = 3000;
    private const int LOCK_SH = 1, LOCK_EX = 2, LOCK_NB = 4;

    private readonly Dictionary<(uint Kind, ulong Owner, ulong Device, ulong Inode, long Start, long End), (FileLockEntry Entry, bool Fits)> _locks = [];

    private Ahead<LockedInodes>? _locked;

    /// <summary>Learns at once which files are locked at all, where so many are open that to ask for each costs more.</summary>
    public void LookAhead()
    {
        if (context.Tree.Processes.Sum(CountOfDescriptors) < ManyDescriptors) return;
        _locked = new Ahead<LockedInodes>(() => LockedInodes.TryRead() ?? throw new CheckpointException(ErrorCode.KernelFeature, "the kernel's list of locks cannot be read") { Object = "/proc/locks" });
        context.Side.Post(_locked.Prepare);
    }

    /// <summary>True when a lease is on the file: whoever opens it breaks the lease.</summary>
    public bool IsLeased(OpenFile file) => MayBeLocked(file) && file.Info.Contains("LEASE", StringComparison.Ordinal);

    /// <summary>Takes up the locks that a descriptor shows; <see cref="OpenFile.Id"/> is known.</summary>
    /// <exception cref="CheckpointException">There are some, and --file-locks was not given.</exception>
    public void Add(OpenFile file)
    {
        if (file.IsAnonymous || !MayBeLocked(file) || !file.Info.Contains("lock:", StringComparison.Ordinal)) return;
        foreach (string line in file.Info.Split('\n'))
        {
            if (!line.StartsWith("lock:", StringComparison.Ordinal)) continue;
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            FileLockEntry entry = Parse(file, words, out long end);
            if (!context.Options.FileLocks)
            {
                throw file.Fail(ErrorCode.NeedsFileLocks, $"it is locked ({string.Join(' ', words[1..^1])} {words[^1]})", "Give --file-locks, when no process outside of the tree waits for the lock");
            }

            if (_locks.Count == 0) context.Contents.Add(Write);
            ulong owner = entry.Flag == Posix ? (ulong)file.Process.Pid : file.Id;
            // A record lock is taken again through a descriptor that may do so.
            uint access = file.Flags & O_ACCMODE;
            bool fits = access == O_RDWR || (entry.Type == F_WRLCK) == (access == O_WRONLY);
            var key = (entry.Flag, owner, file.Stat.st_dev, file.Stat.st_ino, entry.Start, end);
            if (!_locks.TryGetValue(key, out (FileLockEntry, bool Fits) known) || (!known.Fits && fits)) _locks[key] = (entry, fits);
        }
    }

    /// <summary>Takes the locks again; every process has its descriptors.</summary>
    public static void Restore(RestoreContext context)
    {
        foreach (FileLockEntry entry in context.Contents.FileLocks)
        {
            RestoreProcess? process = context.Processes.Find(process => process.Pid == entry.Pid && !process.IsZombie);
            if (process is null) throw new CheckpointException(ErrorCode.ImageDamaged, $"a lock of process {entry.Pid}, which is not in the tree") { Object = ImageKind.FileLocks.FileName() };
            SysResult taken = Take(process, entry);
            if (!taken.Failed) continue;
            throw new CheckpointException(
                taken.Errno is Errno.EAGAIN or Errno.EACCES ? ErrorCode.NameTaken : ErrorCode.SystemCall, $"its lock ({Name(entry)}) cannot be taken again")
            {
                Pid = process.Pid,
                ProcessName = process.Name,
                Object = $"fd {entry.Fd}",
                Errno = taken.Errno,
                Remedy = "Another process may have the file locked or open now: end it first",
            };
        }
    }

    private bool MayBeLocked(OpenFile file) => _locked is null || _locked.Value.Contains(file.Stat.st_ino);

    // Since Linux 6.2 the size of the directory is the number of descriptors; before that it is 0.
    private static long CountOfDescriptors(DumpProcess process) =>
        process.IsZombie || Sys.Stat(process.Proc.Fd, "fd", out FileStat stat).Failed ? 0 : stat.st_size;

    private static SysResult Take(RestoreProcess process, FileLockEntry entry)
    {
        var calls = new RemoteCalls(process.Space, process.Leader.Task);
        int call;
        switch (entry.Flag)
        {
            case Flock:
                call = calls.Try(SyscallNumber.flock, entry.Fd, (entry.Type == F_WRLCK ? LOCK_EX : LOCK_SH) | LOCK_NB);
                break;
            case Lease:
                call = calls.Try(SyscallNumber.fcntl, entry.Fd, F_SETLEASE, entry.Type);
                break;
            default:
                RemoteAddress range = calls.Batch.Data(new Range { Type = (short)entry.Type, Start = entry.Start, Length = entry.Len });
                call = calls.Try(SyscallNumber.fcntl, entry.Fd, entry.Flag == Ofd ? F_OFD_SETLK : F_SETLK, range);
                break;
        }

        SysResult result = calls.RunAndKeep().Result(call);
        calls.Batch.Clear();
        return result;
    }

    private static string Name(FileLockEntry entry) => entry.Flag switch
    {
        Posix => "record lock",
        Flock => "flock",
        Ofd => "record lock of the open file",
        Lease => "lease",
        _ => $"kind {entry.Flag}",
    };

    private static FileLockEntry Parse(OpenFile file, string[] words, out long end)
    {
        // lock:\t1: KIND STATE TYPE PID DEVICE:INODE START END
        if (words.Length < 8) throw file.Fail(ErrorCode.KernelFeature, "the kernel shows its locks in a form that is not known");
        uint kind = words[1] switch
        {
            "POSIX" => Posix,
            "FLOCK" => Flock,
            "OFDLCK" => Ofd,
            "LEASE" => Lease,
            _ => throw file.Fail(ErrorCode.UnsupportedFile, $"locks of the kind {words[1]} cannot be saved", "Let the program unlock it"),
        };
        if (kind == Lease && words[2] != "ACTIVE") throw file.Fail(ErrorCode.InFlight, "somebody else waits for the end of its lease", "Try again when that is over");
        long start = long.Parse(words[^2], CultureInfo.InvariantCulture);
        end = words[^1] == "EOF" ? long.MaxValue : long.Parse(words[^1], CultureInfo.InvariantCulture);
        return new FileLockEntry
        {
            Flag = kind,
            Pid = file.Process.Pid,
            Fd = file.Fd,
            Start = start,
            Len = end == long.MaxValue ? 0 : end - start + 1,
            Type = words[3] switch { "WRITE" => F_WRLCK, "READ" => F_RDLCK, _ => F_UNLCK },
        };
    }

    private void Write()
    {
        using ImageWriter image = context.Snapshot.Create(ImageKind.FileLocks);
        foreach ((FileLockEntry entry, _) in _locks.Values) image.Add(entry);
    }

    /// <summary>struct flock.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Range
    {
        public short Type, Whence;
        public long Start, Length;
        public int Pid;
    }
}
