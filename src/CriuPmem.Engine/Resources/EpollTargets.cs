using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Finds the open file of each registration of an epoll set.</summary>
/// <remarks>
/// kcmp(2) with KCMP_EPOLL_TFD tells it exactly, but walks the set each time: for thousands of registrations that is
/// quadratic. fdinfo lists them by the addresses of their files, though. So the engine puts the files that the numbers mean
/// now into a set of its own, with every other of the tree that could be meant instead, and reads their order there:
/// <code>
/// fdinfo of the program's set   5 → ?    9 → ?    7 → ?         5, 9, 7 are now A, B, C
/// fdinfo of the engine's set    A        B    X   C             agrees; beside X, 9 and 7 are asked for by kcmp
/// </code>
/// Where the orders agree and nothing lies between, a number still means the file that was registered.
/// </remarks>
internal sealed unsafe class EpollTargets(DumpContext context, OpenFile set, EventpollFileEntry entry)
{
    private const int EPOLL_CTL_ADD = 1, AskEachUpTo = 256;

    private readonly Dictionary<uint, uint> _seen = new(entry.Tfd.Count);

    /// <summary>Notes the file's id at each registration under a number that it has no longer.</summary>
    /// <exception cref="CheckpointException">Such a file is in no descriptor of the tree.</exception>
    public void Identify()
    {
        bool[]? certain = entry.Tfd.Count > AskEachUpTo ? Certain() : null;
        for (int i = 0; i < entry.Tfd.Count; i++)
        {
            EventpollTfdEntry target = entry.Tfd[i];
            uint earlier = _seen[target.Tfd] = _seen.TryGetValue(target.Tfd, out uint before) ? before + 1 : 0;
            if (certain is not null && certain[i]) continue;
            if (Now(target) is { } now && IsTarget(target, earlier, now)) continue;
            KnownDescriptor? found = context.Files.WithInode(target.Dev, target.Inode).FirstOrDefault(other => IsTarget(target, earlier, other));
            target.FileId = found?.Id ?? throw Refuse(target, "which the process has closed, while the file is open outside the tree only");
            if (TypeOf(found.Id) == FdTypes.Signalfd) throw Refuse(target, "which is another's now, and the file is a signal descriptor");
        }
    }

    /// <summary>The descriptor that has the number now, if it can be the one that was registered.</summary>
    private KnownDescriptor? Now(EventpollTfdEntry target) =>
        context.Files.Find(set.Process, (int)target.Tfd) is { } now && now.Device == target.Dev && now.Inode == target.Inode ? now : null;

    private FdTypes TypeOf(uint id) => context.Files.Entries[(int)id - 1].Type;

    /// <summary>Which registrations are known to be of the file that has their number now.</summary>
    private bool[]? Certain()
    {
        var certain = new bool[entry.Tfd.Count];
        var unique = entry.Tfd.GroupBy(target => target.Tfd).Where(group => group.Count() == 1).Select(group => group.Key).ToHashSet();
        Dictionary<uint, int>? ranks = Ranks();
        if (ranks is null) return null;
        int last = 0;
        var anonymous = new List<(int Line, int Rank)>();
        for (int i = 0; i < entry.Tfd.Count; i++)
        {
            EventpollTfdEntry target = entry.Tfd[i];
            if (!unique.Contains(target.Tfd) || Now(target) is not { } now) continue;
            if (!ranks.TryGetValue(now.Id, out int rank))
            {
                certain[i] = true; // an inode of its own: a pipe or socket can hardly be mistaken for another
                continue;
            }

            if (rank < last) return null;
            anonymous.Add((i, rank));
            last = rank;
        }

        for (int k = 0; k < anonymous.Count; k++)
        {
            (int line, int rank) = anonymous[k];
            int below = k == 0 ? 0 : anonymous[k - 1].Rank, above = k + 1 == anonymous.Count ? ranks.Count + 1 : anonymous[k + 1].Rank;
            certain[line] = rank - below <= 1 && above - rank <= 1;
        }

        return certain;
    }

    /// <summary>The order of addresses, from 1, of the tree's open files that share their inode with unrelated ones; null if it cannot be had.</summary>
    private Dictionary<uint, int>? Ranks()
    {
        SysResult made = Syscall.Invoke(SyscallNumber.epoll_create1, O_CLOEXEC);
        if (made.Failed) return null;
        using var scratch = new OwnedFd(made.Value);
        var ranks = new Dictionary<uint, int>();
        foreach ((uint device, ulong inode) in entry.Tfd.Select(target => (target.Dev, target.Inode)).Distinct())
        {
            foreach (KnownDescriptor file in context.Files.WithInode(device, inode))
            {
                if (TypeOf(file.Id) is FdTypes.Pipe or FdTypes.Fifo or FdTypes.Inetsk or FdTypes.Unixsk or FdTypes.Tty) break;
                if (ranks.TryAdd(file.Id, 0) && !Add(scratch.Fd, file)) return null;
            }
        }

        byte[] buffer = new byte[64 + ranks.Count * 96];
        SysResult read = Sys.ReadFile(AT_FDCWD, string.Create(CultureInfo.InvariantCulture, $"/proc/thread-self/fdinfo/{scratch.Fd}"), ref buffer);
        if (read.Failed) return null;
        int rank = 0;
        foreach (ReadOnlySpan<char> line in LinuxText.Decode(buffer.AsSpan(0, read.Value)).AsSpan().EnumerateLines())
        {
            if (line.StartsWith("tfd:")) ranks[(uint)EventPoll.Parse(line).Data] = ++rank;
        }

        return rank == ranks.Count ? ranks : null;
    }

    private static bool Add(int scratch, KnownDescriptor file)
    {
        SysResult copy = file.Process.CopyOf(file.Fd);
        if (copy.Failed) return false;
        // Closed at once: a registration lasts as long as the file is open anywhere, and the program has it open.
        using var fd = new OwnedFd(copy.Value);
        uint* registered = stackalloc uint[3] { 0, file.Id, 0 }; // struct epoll_event, packed
        return !Syscall.Invoke(SyscallNumber.epoll_ctl, scratch, EPOLL_CTL_ADD, fd.Fd, (long)registered).Failed;
    }

    /// <summary>True when the registration is of the open file of a descriptor.</summary>
    /// <param name="target">The registration.</param>
    /// <param name="earlier">Registrations under the same number before it.</param>
    /// <param name="descriptor">The descriptor.</param>
    private bool IsTarget(EventpollTfdEntry target, uint earlier, KnownDescriptor descriptor)
    {
        uint* slot = stackalloc uint[3] { (uint)set.Fd, target.Tfd, earlier }; // struct kcmp_epoll_slot
        SysResult order = Sys.Kcmp(descriptor.Process.TaskId, set.Process.TaskId, KCMP_EPOLL_TFD, descriptor.Fd, (long)slot);
        return order.OrThrow("kcmp(KCMP_EPOLL_TFD)", $"{set.Process}, {set}") == 0;
    }

    private CheckpointException Refuse(EventpollTfdEntry target, string cause) => set.Fail(
        ErrorCode.UnsupportedFile, $"it watches a file under the number {target.Tfd}, {cause}",
        "Let the program remove it from the set (EPOLL_CTL_DEL) before it closes the descriptor");
}
