using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Estimate;

/// <summary>What a running tree consists of, counted from outside: nothing is stopped, and what comes and goes meanwhile is counted or not.</summary>
internal sealed class TreeCount
{
    // What the images take of each, in bytes: as measured on snapshots of the workloads.
    private const long PerSnapshot = 1_500, PerProcess = 2_700, PerThread = 1_330, PerMapping = 36, PerRun = 14, PerDescriptor = 15, PerFile = 135;
    private const int KCMP_VM = 1;

    private readonly HashSet<(ulong Device, ulong Inode)> _files = [];
    private long _deletedBytes, _sharedBytes, _openFiles;
    private int _runs;

    /// <summary>Processes.</summary>
    public int Processes { get; private set; }

    /// <summary>Threads.</summary>
    public int Threads { get; private set; }

    /// <summary>Mappings; of processes that share memory once.</summary>
    public int Mappings { get; private set; }

    /// <summary>Open descriptors.</summary>
    public int Descriptors { get; private set; }

    /// <summary>Bytes of pages that a dump would save.</summary>
    public long MemoryBytes { get; private set; }

    /// <summary>Those of the process that has most.</summary>
    public long LargestBytes { get; private set; }

    /// <summary>Bytes of all images.</summary>
    public long SnapshotBytes => MemoryBytes + _deletedBytes + PerSnapshot + Processes * PerProcess + Threads * PerThread +
        Mappings * PerMapping + _runs * PerRun + Descriptors * PerDescriptor + _openFiles * PerFile;

    /// <summary>Counts a tree.</summary>
    /// <param name="root">Its root.</param>
    /// <param name="ghostLimitBytes">Deleted files up to this size count.</param>
    /// <exception cref="CheckpointException">There is no such process.</exception>
    public static TreeCount Of(int root, long ghostLimitBytes)
    {
        var count = new TreeCount();
        using var planner = new PagePlanner();
        var waiting = new Queue<(int Pid, int Parent)>([(root, 0)]);
        while (waiting.TryDequeue(out (int Pid, int Parent) next))
        {
            Interruption.Check();
            if (!count.Add(next.Pid, next.Parent, planner, ghostLimitBytes, waiting) && next.Pid == root)
            {
                throw new CheckpointException(ErrorCode.NoSuchProcess, "there is no such process") { Pid = root, Remedy = "Give the pid of a process that runs, with -t" };
            }
        }

        count.MemoryBytes += count._sharedBytes;
        return count;
    }

    private bool Add(int pid, int parent, PagePlanner planner, long ghostLimitBytes, Queue<(int Pid, int Parent)> waiting)
    {
        ProcDirectory? proc = ProcDirectory.TryOpen(pid);
        if (proc?.Stat() is not { } stat)
        {
            proc?.Dispose();
            return false;
        }

        using var process = new DumpProcess(pid, proc, stat);
        Processes++;
        List<int> threads = proc.Numbers("task");
        Threads += threads.Count;
        foreach (int thread in threads)
        {
            foreach (int child in proc.Children(thread)) waiting.Enqueue((child, pid));
        }

        if (stat.State is 'Z' or 'X') return true;
        AddDescriptors(proc, ghostLimitBytes);
        if (parent == 0 || Sys.Kcmp(pid, parent, KCMP_VM).Raw != 0) AddMemory(process, planner);
        return true;
    }

    private void AddMemory(DumpProcess process, PagePlanner planner)
    {
        try
        {
            AddressSpaceDump.Outline(process);
        }
        catch (CheckpointException) when (process.Proc.Stat() is not { State: not ('Z' or 'X') })
        {
            return; // ended meanwhile
        }
        catch (CheckpointException unread) when (IsForbidden(process))
        {
            throw new CheckpointException(ErrorCode.NotPermitted, "its memory may not be looked at")
            {
                Pid = process.Pid,
                ProcessName = process.Stat.Comm,
                Errno = unread.Errno == Errno.None ? Errno.EACCES : unread.Errno,
                Remedy = "Run it as root, or as the user to whom the whole tree belongs.",
            };
        }

        PagePlan plan = planner.Plan(process, earlier: null, protect: false, running: true);
        Mappings += process.Mappings.Count;
        _runs += plan.Runs.Count;
        long own = plan.Runs.Sum(static run => (long)run.LengthBytes);
        MemoryBytes += own;
        LargestBytes = Math.Max(LargestBytes, own);
        foreach (VmaEntry vma in process.Memory.Vmas)
        {
            var status = (VmaStatus)vma.Status;
            if ((status & (VmaStatus.FilePrivate | VmaStatus.FileShared | VmaStatus.AnonShared | VmaStatus.Memfd)) == 0) continue;
            string link = string.Create(CultureInfo.InvariantCulture, $"map_files/{vma.Start:x}-{vma.End:x}");
            AddFile(process.Proc, link, ghostLimitBytes: 0);
        }
    }

    private static bool IsForbidden(DumpProcess process)
    {
        SysResult opened = Sys.OpenAt(process.Proc.Fd, "maps", O_RDONLY | O_CLOEXEC);
        if (opened.Failed) return opened.Errno is Errno.EACCES or Errno.EPERM;
        Sys.Close(opened.Value);
        return false;
    }

    private void AddDescriptors(ProcDirectory proc, long ghostLimitBytes)
    {
        foreach (int fd in proc.Numbers("fd"))
        {
            Descriptors++;
            AddFile(proc, string.Create(CultureInfo.InvariantCulture, $"fd/{fd}"), ghostLimitBytes);
        }
    }

    /// <summary>Counts a file once, and its contents when the snapshot would hold them.</summary>
    private void AddFile(ProcDirectory proc, string link, long ghostLimitBytes)
    {
        if (Sys.Stat(proc.Fd, link, out FileStat stat).Failed) return;
        if (!_files.Add((stat.st_dev, stat.st_ino))) return;
        _openFiles++;
        if ((stat.st_mode & S_IFMT) != S_IFREG || stat.st_nlink != 0) return;
        string target = proc.ReadLink(link) ?? "";
        bool isMemory = target.StartsWith("/memfd:", StringComparison.Ordinal) || target.StartsWith("/dev/zero", StringComparison.Ordinal) || target.StartsWith("/SYSV", StringComparison.Ordinal);
        if (isMemory) _sharedBytes += stat.st_blocks * 512;
        else if (stat.st_size <= ghostLimitBytes) _deletedBytes += stat.st_size;
    }
}
