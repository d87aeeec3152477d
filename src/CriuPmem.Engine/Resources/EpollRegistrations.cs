using System.Runtime.InteropServices;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>Registers what epoll sets watch, when all descriptors of all tasks are in their places.</summary>
/// <remarks>
/// The task itself registers, since the set remembers the number, and a signal descriptor whose signals are meant: one
/// batch for all sets of a task. Sets within sets come last: adding to a set that is watched makes the kernel walk all
/// paths above it, every time. A registration under a number that its file no longer has is made by a thread with a
/// descriptor table of its own, where the number is free to be used.
/// </remarks>
internal sealed unsafe class EpollRegistrations(RestoreContext context)
{
    private const int EPOLL_CTL_ADD = 1, EPOLL_CTL_MOD = 3;
    private const uint EPOLLONESHOT = 1u << 30, PrivateBits = 0xF000_0000;
    private const uint AnyEvent = 0x27C7; // EPOLLIN … EPOLLMSG, EPOLLRDHUP; EPOLLERR and EPOLLHUP come by themselves
    private const int SpentPerRound = 500;

    private readonly List<EventpollFileEntry> _sets = [];
    private readonly Dictionary<uint, List<(RestoreProcess Process, int Fd)>> _holders = [];
    private readonly Dictionary<RestoreProcess, Dictionary<uint, uint>> _tables = [];

    /// <summary>Takes note of a set.</summary>
    public void Add(FileEntry set)
    {
        if (_sets.Count == 0) context.WhenTasksAreEquipped.Add(Register);
        _sets.Add(set.Epfd);
    }

    private void Register()
    {
        IndexTables();
        var direct = new List<Registration>();
        var stale = new List<Registration>();
        foreach (EventpollFileEntry set in _sets)
        {
            foreach (EventpollTfdEntry target in set.Tfd)
            {
                Registration found = Find(set, target);
                (found.Process is null ? stale : direct).Add(found);
            }
        }

        foreach (bool nested in (ReadOnlySpan<bool>)[false, true])
        {
            foreach (IGrouping<RestoreProcess, Registration> group in direct.Where(one => one.IsNested == nested).GroupBy(one => one.Process!))
            {
                var calls = new RemoteCalls(group.Key.Space, group.Key.Leader.Task);
                foreach (Registration[] round in group.Where(one => one.IsSpent).Chunk(SpentPerRound)) AddSpent(calls, round);
                foreach (Registration one in group.Where(one => !one.IsSpent)) Call(calls, one, EPOLL_CTL_ADD, one.Target.Events);
                calls.Flush();
            }
        }

        if (stale.Count > 0) PrivateTable.Run("epoll", () => stale.ForEach(AddStale));
    }

    /// <summary>Which task has which number, and who has the sets.</summary>
    private void IndexTables()
    {
        var known = new HashSet<uint>();
        foreach (RestoreProcess process in context.Processes)
        {
            if (process.Ids is not { } ids || !known.Add(ids.FilesId)) continue;
            if (!context.Contents.Fdinfos.TryGetValue(ids.FilesId, out IReadOnlyList<FdinfoEntry>? table)) continue;
            _tables.Add(process, table.ToDictionary(entry => entry.Fd, entry => entry.Id));
            foreach (FdinfoEntry entry in table)
            {
                if (entry.Type != FdTypes.Eventpoll) continue;
                if (!_holders.TryGetValue(entry.Id, out List<(RestoreProcess, int)>? holders)) _holders.Add(entry.Id, holders = []);
                holders.Add((process, (int)entry.Fd));
            }
        }
    }

    private Registration Find(EventpollFileEntry set, EventpollTfdEntry target)
    {
        foreach ((RestoreProcess process, int fd) in _holders.GetValueOrDefault(set.Id, []))
        {
            if (!_tables[process].TryGetValue(target.Tfd, out uint id)) continue;
            if (target.HasFileId && id != target.FileId) continue;
            return new Registration(set, target, process, fd, context.Files.Entry(id).Type == FdTypes.Eventpoll);
        }

        if (target.HasFileId) return new Registration(set, target, null, -1, false);
        throw new CheckpointException(ErrorCode.ImageUnsupported, $"an epoll set watches a file under the number {target.Tfd}, which no process with that set has open")
        {
            Object = $"files.img, file {set.Id}",
        };
    }

    private static int Call(RemoteCalls calls, Registration one, int operation, uint events)
    {
        calls.Room(16);
        RemoteAddress what = calls.Batch.Data(new EpollEvent { Events = events, Data = one.Target.Data });
        return calls.Must("epoll_ctl", SyscallNumber.epoll_ctl, one.Fd, operation, one.Target.Tfd, what);
    }

    /// <summary>Registers one-shots that have fired: armed for everything, they fire at once if their file is ready for anything.</summary>
    private static void AddSpent(RemoteCalls calls, Registration[] round)
    {
        calls.Flush();
        var waits = new int[round.Length];
        RemoteAddress ignored = calls.Batch.Reserve(16);
        for (int i = 0; i < round.Length; i++)
        {
            Call(calls, round[i], EPOLL_CTL_ADD, round[i].Target.Events | AnyEvent);
            waits[i] = calls.Try(SyscallNumber.epoll_wait, round[i].Fd, ignored, 1, 0);
        }

        SyscallBatch batch = calls.RunAndKeep();
        bool[] fired = [.. waits.Select(wait => batch.Result(wait).Raw == 1)];
        batch.Clear();
        for (int i = 0; i < round.Length; i++)
        {
            // The kernel adds error and hang-up to these: that much stays armed which was not.
            if (!fired[i]) Call(calls, round[i], EPOLL_CTL_MOD, round[i].Target.Events);
        }

        calls.Flush();
    }

    private void AddStale(Registration one)
    {
        int number = (int)one.Target.Tfd;
        string what = $"epoll set {one.Set.Id}, number {number}";
        // Copies above the number, so that taking it disturbs neither; the table is this thread's own.
        using var set = new OwnedFd((int)Sys.Fcntl(context.Files.Open(one.Set.Id), F_DUPFD_CLOEXEC, number + 1).OrThrow("fcntl(F_DUPFD)", what));
        int target = context.Files.Open(one.Target.FileId);
        SysResult kept = Sys.Fcntl(number, F_DUPFD_CLOEXEC, number + 1);
        if (target != number) Sys.Dup3(target, number, O_CLOEXEC).OrThrow("dup3", what);
        var registered = new EpollEvent { Events = one.Target.Events, Data = one.Target.Data };
        Syscall.Invoke(SyscallNumber.epoll_ctl, set.Fd, EPOLL_CTL_ADD, number, (long)(&registered)).OrThrow("epoll_ctl", what);
        if (kept.Failed)
        {
            Sys.Close(number);
            return;
        }

        Sys.Dup3(kept.Value, number, O_CLOEXEC).OrThrow("dup3", what);
        Sys.Close(kept.Value);
    }

    /// <summary>One registration and the task that makes it; none for a number that its file no longer has.</summary>
    private sealed record Registration(EventpollFileEntry Set, EventpollTfdEntry Target, RestoreProcess? Process, int Fd, bool IsNested)
    {
        /// <summary>A one-shot that has fired and was not armed again.</summary>
        public bool IsSpent => (Target.Events & EPOLLONESHOT) != 0 && (Target.Events & ~PrivateBits) == 0;
    }

    /// <summary>struct epoll_event, packed on x86-64.</summary>
    [StructLayout(LayoutKind.Sequential, Pack = 1)]
    private struct EpollEvent
    {
        public uint Events;
        public ulong Data;
    }
}
