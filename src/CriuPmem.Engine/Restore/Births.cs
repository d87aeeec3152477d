using System.Runtime.InteropServices;
using CriuPmem.Engine.Memory;
using CriuPmem.Engine.Resources;
using CriuPmem.Images;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Restore;

/// <summary>Bears every process of the tree, with its pid, parent, session, group and memory.</summary>
/// <remarks>
/// A process is born from its parent, or, where its session demands it, from another that hands it over. Children of
/// another session are born before their parent starts its own; those that share pages with it after its memory is built.
/// </remarks>
internal sealed class Births(RestoreContext context, MemoryRestore memory, TerminalMaker terminals) : IDisposable
{
    private const int MostAtOnce = 100;

    private readonly List<RestoreProcess> _born = [];
    private readonly List<RestoreProcess> _deferred = [];
    private readonly RemoteAddress _scratch = ScratchAddress.Find(context);
    private readonly StandIns _standIns = new(context, ScratchAddress.Find(context));

    /// <summary>The processes in the order of their births: makers before those they made.</summary>
    public IReadOnlyList<RestoreProcess> Born => _born;

    /// <summary>Bears them all.</summary>
    public void BearAll()
    {
        context.Root.BirthSessionId = context.OwnSession;
        BearRoot();
        Grow(context.Root);
        BearDeferred();
        context.Running.CollectAll();
        JoinGroups();
        _standIns.EndLeaders();
    }

    /// <summary>True when a process has a SIGCHLD pending that is of our making.</summary>
    public bool HadHelpers(RestoreProcess process) => _standIns.Reapers.Contains(process);

    /// <summary>Takes hold of a task that <paramref name="maker"/> cloned with CLONE_PTRACE: its registers are the maker's.</summary>
    public static Tracee NewTask(int tid, RestoreProcess process, Tracee maker)
    {
        var task = new Tracee(tid) { SignalMask = maker.SignalMask, IsMasked = true };
        task.Registers = maker.Registers;
        TaskStop stop = task.Wait();
        if (stop.Ended) throw process.Fail(ErrorCode.RestoredDied, $"the new task {tid} ended at once: it was {stop.Describe()}");
        return task;
    }

    /// <inheritdoc />
    public void Dispose() => _standIns.Dispose();

    private void BearRoot()
    {
        RestoreProcess root = context.Root;
        Clocks.Restore(context);
        Tracee task = Seed.Spawn(root.Pid, context.Options.Sibling ? CLONE_PARENT : 0);
        root.Leader.Task = task;
        root.Space = RemoteSpace.Create(task, Seed.SyscallInstruction, _scratch.Value);
        Add(root);
        var calls = new RemoteCalls(root.Space, task);
        int transport = context.Transport.TaskEnd;
        SignalActions.Reset(calls);
        calls.Must("close_range", SyscallNumber.close_range, 0, transport - 1, 0);
        calls.Must("close_range", SyscallNumber.close_range, context.Transport.LastTaskEnd + 1, uint.MaxValue, 0);
        calls.Flush();
        ProcessAttributes.RestoreLogin(context, root);
    }

    /// <summary>Builds a process's memory and makes its children, and those theirs, to the leaves.</summary>
    /// <param name="process">The process, just born.</param>
    /// <param name="inheritsFrom">Its parent, when it was born with that one's memory built.</param>
    private void Grow(RestoreProcess process, RestoreProcess? inheritsFrom = null)
    {
        List<RestoreProcess> early = [], children = [];
        foreach (RestoreProcess child in process.Children)
        {
            bool ofBirthSession = child.SessionId == process.BirthSessionId && process.SessionId != process.BirthSessionId;
            if (ofBirthSession) early.Add(child);
            else if (child.SessionId == process.SessionId || child.SessionId == child.Pid) children.Add(child);
            else _deferred.Add(child);
        }

        BearEach(process, early, inherits: false);
        if (process.SessionId == process.Pid)
        {
            Call(process, "setsid", SyscallNumber.setsid);
            terminals.GiveTo(process);
        }

        if (process.IsZombie) return;

        // A child that shares no page is born while there is little to copy; the others when there is something to share.
        bool IsSharing(RestoreProcess child) => inheritsFrom is not null || SharesMemory(process, child) || SharesPages(process, child);
        List<RestoreProcess> sharing = [.. children.Where(IsSharing)];
        BearEach(process, [.. children.Except(sharing)], inherits: false);
        if (process.MemoryOwner is null) memory.Build(process, inheritsFrom, Lent(process, sharing));
        BearEach(process, sharing, inherits: true);
    }

    /// <summary>Makes children of a process, and all that descend from them.</summary>
    /// <param name="maker">The process.</param>
    /// <param name="children">The children.</param>
    /// <param name="inherits">They shall keep what they share of its memory.</param>
    private void BearEach(RestoreProcess maker, List<RestoreProcess> children, bool inherits)
    {
        if (children.Count > 1 && !children.Exists(child => child.IsEntangled))
        {
            foreach (RestoreProcess[] some in children.Chunk(MostAtOnce)) BearTogether(maker, some, inherits);
            return;
        }

        foreach (RestoreProcess child in children) Bear(maker, child, inherits && !SharesMemory(maker, child));
    }

    /// <summary>As <see cref="BearEach"/>, by one batch.</summary>
    private void BearTogether(RestoreProcess maker, RestoreProcess[] children, bool inherits)
    {
        int session = Sys.GetSid(maker.Pid);
        var calls = new RemoteCalls(maker.Space, maker.Leader.Task);
        int[] indices = [.. children.Select(child => AddBirth(calls, child, 0))];
        SyscallBatch batch = calls.RunAndKeep();
        SysResult[] made = [.. indices.Select(batch.Result)];
        batch.Clear();
        foreach (RestoreProcess child in children)
        {
            child.BirthSessionId = session;
            child.LoginId = maker.LoginId;
        }

        // Those that exist first: if one cannot be made, they are known, and are ended.
        for (int i = 0; i < children.Length; i++)
        {
            if (!made[i].Failed) TakeHold(maker.Leader.Task, maker.Space, children[i]);
        }

        for (int i = 0; i < children.Length; i++)
        {
            if (made[i].Failed) BearBy(maker.Leader.Task, maker.Space, children[i], 0);
            Grow(children[i], inherits ? maker : null);
        }
    }

    /// <summary>The pages of a process that its children go on sharing, in address order.</summary>
    private List<(ulong Start, ulong End)> Lent(RestoreProcess process, List<RestoreProcess> sharing) =>
        [.. sharing.Where(child => child.Memory is not null && !SharesMemory(process, child)).SelectMany(child => memory.Plans.Of(child).Shared).Order()];

    /// <summary>
    /// Bears those whose session is not one that their parent had: by another member of it, or by one that stands in for
    /// its ended leader.
    /// </summary>
    private void BearDeferred()
    {
        for (bool any = true; any && _deferred.Count > 0;)
        {
            any = false;
            foreach (RestoreProcess child in _deferred.ToArray())
            {
                if (!BearByOther(child)) continue;
                _deferred.Remove(child);
                any = true;
            }
        }

        if (_deferred.Count == 0) return;
        RestoreProcess stuck = _deferred[0];
        throw stuck.Fail(ErrorCode.ImageUnsupported, $"session {stuck.SessionId} cannot be entered from its parent {stuck.Parent}, and such a tree cannot be built yet");
    }

    private bool BearByOther(RestoreProcess child)
    {
        RestoreProcess parent = child.Parent!;
        RestoreProcess? sibling = null, descendant = null;
        bool known = context.Processes.Exists(process => process.Pid == child.SessionId);
        foreach (RestoreProcess member in _born)
        {
            if (member.SessionId != child.SessionId || member.IsZombie) continue;
            if (member.Parent == parent) sibling ??= member;
            for (RestoreProcess? above = member.Parent; above is not null; above = above.Parent)
            {
                if (above == parent) descendant ??= member;
            }
        }

        if (sibling is not null)
        {
            Bear(sibling, child, siblings: true);
        }
        else if (descendant is not null)
        {
            StandIns.StandIn maker = _standIns.BearNameless(descendant);
            BearBy(maker.Task, maker.Space, child, 0);
            Call(parent, "prctl(PR_SET_CHILD_SUBREAPER)", SyscallNumber.prctl, PR_SET_CHILD_SUBREAPER, 1);
            _standIns.End(maker);
            Call(parent, "prctl(PR_SET_CHILD_SUBREAPER)", SyscallNumber.prctl, PR_SET_CHILD_SUBREAPER, 0);
            child.BirthSessionId = child.SessionId;
            Grow(child);
        }
        else if (!known)
        {
            StandIns.StandIn leader = _standIns.Leading(child.SessionId) ?? _standIns.FoundSession(parent, child.SessionId);
            if (leader.Parent != parent) return false;
            BearBy(leader.Task, leader.Space, child, CLONE_PARENT);
            child.BirthSessionId = child.SessionId;
            Grow(child);
        }
        else
        {
            return false;
        }

        return true;
    }

    private bool SharesPages(RestoreProcess parent, RestoreProcess child) =>
        Inheritance.IsPossible(context, parent, child) && memory.Plans.Of(child).IsSharing;

    private static bool SharesMemory(RestoreProcess parent, RestoreProcess child) => child.Ids is not null && parent.Ids?.VmId == child.Ids.VmId;

    /// <summary>Makes a process and all that descend from it.</summary>
    /// <param name="maker">Who makes it: its parent, or a sibling.</param>
    /// <param name="child">The process.</param>
    /// <param name="inherits">It shall keep what it shares of the maker's memory.</param>
    /// <param name="siblings">The maker is a sibling.</param>
    private void Bear(RestoreProcess maker, RestoreProcess child, bool inherits = false, bool siblings = false)
    {
        ulong share = Shared(maker, child);
        if ((share & CLONE_VM) != 0)
        {
            child.MemoryOwner = maker.MemoryOwner ?? maker;
            child.Space = maker.Space;
        }

        child.BirthSessionId = Sys.GetSid(maker.Pid);
        child.LoginId = maker.LoginId;
        BearBy(maker.Leader.Task, maker.Space, child, share | (siblings ? CLONE_PARENT : 0));
        Grow(child, inherits ? maker : null);
    }

    private void BearBy(Tracee maker, RemoteSpace space, RestoreProcess child, ulong flags)
    {
        for (int waited = 0; ; waited++)
        {
            var calls = new RemoteCalls(space, maker);
            int clone = AddBirth(calls, child, flags);
            SysResult made = calls.RunAndKeep().Result(clone);
            calls.Batch.Clear();
            if (made.Errno == Errno.EEXIST && PidPatience.Wait(child.Pid, waited)) continue;
            if (made.Errno == Errno.EEXIST) throw PidPatience.InUse(child.Pid);
            if (made.Failed)
            {
                throw child.Fail(
                    ErrorCode.SystemCall, $"it cannot be made by process {maker.Tid} with its number (clone3)",
                    made.Errno == Errno.EAGAIN ? "Raise the limits on processes (ulimit -u, pids.max of the control group, kernel.pid_max)"
                        : made.Errno == Errno.EINVAL ? $"Numbers must be below kernel.pid_max; if this one is, {ImageKind.Pstree.FileName()} is damaged: restore from another snapshot"
                        : null,
                    errno: made.Errno);
            }

            break;
        }

        TakeHold(maker, space, child);
    }

    /// <summary>Adds the call that makes a process.</summary>
    private static int AddBirth(RemoteCalls calls, RestoreProcess child, ulong flags)
    {
        calls.Room(160, 2);
        RemoteAddress setTid = calls.Batch.Data(child.Pid);
        RemoteAddress arguments = calls.Batch.Data(new CloneArgs
        {
            flags = CLONE_PTRACE | flags,
            exit_signal = (flags & CLONE_PARENT) == 0 ? (ulong)SIGCHLD : 0,
            set_tid = setTid.Value,
            set_tid_size = 1,
        });
        return calls.Try(SyscallNumber.clone3, arguments, Marshal.SizeOf<CloneArgs>());
    }

    private void TakeHold(Tracee maker, RemoteSpace space, RestoreProcess child)
    {
        child.Leader.Task = NewTask(child.Pid, child, maker);
        if (child.MemoryOwner is null) child.Space = new RemoteSpace(_scratch, space.SyscallInstruction);
        Add(child);
        ProcessAttributes.RestoreLogin(context, child);
    }

    /// <summary>The CLONE_ flags for what a child shares with its parent; refuses what only others share.</summary>
    private ulong Shared(RestoreProcess maker, RestoreProcess child)
    {
        if (!child.IsEntangled || maker.Ids is not { } theirs || child.Ids is not { } own) return 0;
        ulong flags = 0;
        if (own.VmId == theirs.VmId) flags |= CLONE_VM;
        if (own.FilesId == theirs.FilesId) flags |= CLONE_FILES;
        if (own.FsId == theirs.FsId) flags |= CLONE_FS;
        if (own.SighandId == theirs.SighandId) flags |= CLONE_SIGHAND;
        foreach (RestoreProcess other in _born)
        {
            if (other.Ids is not { } others) continue;
            bool elsewhere = (own.VmId == others.VmId && (flags & CLONE_VM) == 0) ||
                (own.FilesId == others.FilesId && (flags & CLONE_FILES) == 0) ||
                (own.FsId == others.FsId && (flags & CLONE_FS) == 0) ||
                (own.SighandId == others.SighandId && (flags & CLONE_SIGHAND) == 0);
            if (elsewhere) throw child.Fail(ErrorCode.ImageUnsupported, $"it shares memory, files or signal handlers with {other}, which is not its parent, and that cannot be restored yet");
        }

        return flags;
    }

    private void Add(RestoreProcess process)
    {
        process.IsBorn = true;
        process.Proc = ProcDirectory.TryOpen(process.Pid) ?? throw process.Fail(ErrorCode.RestoredDied, "it is not in /proc", "Mount /proc of this pid namespace");
        _born.Add(process);
    }

    /// <summary>Process groups: leaders first, then everybody else.</summary>
    private void JoinGroups()
    {
        var live = _born.Select(process => process.Pid).ToHashSet();
        foreach (RestoreProcess process in _born)
        {
            int group = process.GroupId;
            if (live.Contains(group) || group == context.OwnGroup || _standIns.Leading(group) is not null) continue;
            _standIns.FoundGroup(process, group);
        }

        foreach (RestoreProcess process in _born.OrderBy(process => process.GroupId == process.Pid ? 0 : 1))
        {
            int present = Sys.GetPgid(process.Pid);
            if (present == process.GroupId) continue;
            var calls = new RemoteCalls(process.Space, process.Leader.Task);
            int joining = calls.Try(SyscallNumber.setpgid, 0, process.GroupId);
            SysResult joined = calls.RunAndKeep().Result(joining);
            calls.Batch.Clear();
            if (!joined.Failed) continue;
            throw process.Fail(
                ErrorCode.ImageDamaged, $"it cannot join process group {process.GroupId} in session {process.SessionId}",
                $"No such group can have been saved: {ImageKind.Pstree.FileName()} is damaged, restore from another snapshot", errno: joined.Errno);
        }
    }

    private static void Call(RestoreProcess process, string name, long number, long a = 0, long b = 0)
    {
        var calls = new RemoteCalls(process.Space, process.Leader.Task);
        calls.Must(name, number, a, b);
        calls.Flush();
    }
}
