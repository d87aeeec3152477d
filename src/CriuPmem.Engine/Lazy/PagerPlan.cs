using System.Runtime.InteropServices;

namespace CriuPmem.Engine.Lazy;

/// <summary>What the engine tells the pager, through a memory file: 64-bit words, one after another.</summary>
internal sealed class PagerPlan
{
    /// <summary>The log's descriptor, or -1.</summary>
    public int LogFd { get; set; } = -1;

    /// <summary>The log's level.</summary>
    public int LogLevel { get; set; }

    /// <summary>The socket to the restore (<see cref="PagerSignal"/>).</summary>
    public int ControlFd { get; set; } = -1;

    /// <summary>The images directory.</summary>
    public int DirectoryFd { get; set; } = -1;

    /// <summary>The pages files: descriptor, length, and whether they are compressed.</summary>
    public List<(int Fd, ulong LengthBytes, bool Compressed)> Files { get; } = [];

    /// <summary>Every process of the tree.</summary>
    public List<int> Pids { get; } = [];

    /// <summary>The address spaces to fill.</summary>
    public List<Space> Spaces { get; } = [];

    /// <summary>Every descriptor that the pager inherits.</summary>
    public IEnumerable<int> Descriptors =>
        Spaces.Select(static space => space.Fd).Concat(Files.Select(static file => file.Fd)).Append(ControlFd).Append(DirectoryFd).Concat(LogFd < 0 ? [] : [LogFd]);

    /// <summary>Writes the plan into a new memory file; the caller owns the descriptor.</summary>
    public int Write()
    {
        var words = new List<ulong> { (ulong)LogFd, (ulong)LogLevel, (ulong)ControlFd, (ulong)DirectoryFd, (ulong)Files.Count };
        foreach ((int fd, ulong lengthBytes, bool compressed) in Files) words.AddRange([(ulong)fd, lengthBytes, compressed ? 1UL : 0]);
        words.Add((ulong)Pids.Count);
        foreach (int pid in Pids) words.Add((ulong)pid);
        words.Add((ulong)Spaces.Count);
        foreach (Space space in Spaces)
        {
            words.AddRange([(ulong)space.Fd, (ulong)space.Pid, (ulong)space.Runs.Length]);
            words.AddRange(MemoryMarshal.Cast<PagerRun, ulong>(space.Runs));
            words.Add((ulong)space.Huge.Count);
            foreach ((ulong start, ulong end) in space.Huge) words.AddRange([start, end]);
        }

        int file = (int)Sys.MemfdCreate("criu-pmem-plan", MFD_CLOEXEC).OrThrow("memfd_create", "the pager's plan");
        Sys.WriteAll(file, MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(words)));
        return file;
    }

    /// <summary>Reads a plan.</summary>
    public static PagerPlan Read(int fd)
    {
        Sys.Stat(fd, out FileStat stat).OrThrow("fstat", "the pager's plan");
        var words = new ulong[stat.st_size / sizeof(ulong)];
        Span<byte> bytes = MemoryMarshal.AsBytes(words.AsSpan());
        for (int done = 0; done < bytes.Length;)
        {
            int read = (int)Sys.PRead(fd, bytes[done..], done).OrThrow("pread", "the pager's plan");
            if (read == 0) throw new CheckpointException(ErrorCode.Internal, "the pager's plan is cut off");
            done += read;
        }

        int at = 0;
        var plan = new PagerPlan { LogFd = (int)words[at++], LogLevel = (int)words[at++], ControlFd = (int)words[at++], DirectoryFd = (int)words[at++] };
        for (ulong left = words[at++]; left > 0; left--) plan.Files.Add(((int)words[at++], words[at++], words[at++] != 0));
        for (ulong left = words[at++]; left > 0; left--) plan.Pids.Add((int)words[at++]);
        for (ulong left = words[at++]; left > 0; left--)
        {
            int space = (int)words[at++], pid = (int)words[at++], count = (int)words[at++];
            PagerRun[] runs = MemoryMarshal.Cast<ulong, PagerRun>(words.AsSpan(at, count * 4)).ToArray();
            at += count * 4;
            var huge = new (ulong Start, ulong End)[words[at++]];
            for (int i = 0; i < huge.Length; i++) huge[i] = (words[at++], words[at++]);
            plan.Spaces.Add(new Space(space, pid, runs, huge));
        }

        return plan;
    }

    /// <summary>One address space.</summary>
    /// <param name="Fd">Its userfaultfd.</param>
    /// <param name="Pid">A process in it.</param>
    /// <param name="Runs">What is to be filled, in address order.</param>
    /// <param name="Huge">Where huge pages may be when all is filled.</param>
    internal sealed record Space(int Fd, int Pid, PagerRun[] Runs, IReadOnlyList<(ulong Start, ulong End)> Huge);
}
