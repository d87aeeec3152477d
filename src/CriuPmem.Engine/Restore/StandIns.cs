using System.Runtime.InteropServices;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Restore;

/// <summary>Short-lived processes that take the place of ended ones while the tree is built.</summary>
/// <remarks>
/// A session or group whose leader has ended can only be founded by a process with the leader's number; and a process
/// whose maker has ended gets its present parent only by being orphaned again. Such makers are born, used and ended.
/// </remarks>
internal sealed class StandIns(RestoreContext context, RemoteAddress scratch) : IDisposable
{
    private readonly Dictionary<int, StandIn> _leaders = [];
    private readonly HashSet<RestoreProcess> _reapers = [];
    private int _nextFree;

    /// <summary>The processes that had stand-ins as children, and so a SIGCHLD that is not the program's.</summary>
    public IReadOnlySet<RestoreProcess> Reapers => _reapers;

    /// <summary>A process that exists only while the tree is built.</summary>
    public sealed record StandIn(int Pid, RestoreProcess Parent, Tracee Task, RemoteSpace Space);

    /// <summary>The stand-in that leads a session or group, or null.</summary>
    public StandIn? Leading(int id) => _leaders.GetValueOrDefault(id);

    /// <summary>Founds the session of an ended leader.</summary>
    /// <param name="parent">Whose child the leader's stand-in is, and through it every process made by it.</param>
    /// <param name="sessionId">The session, and the stand-in's pid.</param>
    public StandIn FoundSession(RestoreProcess parent, int sessionId)
    {
        StandIn leader = Bear(parent, sessionId, SIGCHLD);
        Call(leader, "setsid", SyscallNumber.setsid);
        _leaders.Add(sessionId, leader);
        return leader;
    }

    /// <summary>Founds the group of an ended leader, in the session of <paramref name="member"/>.</summary>
    public void FoundGroup(RestoreProcess member, int groupId)
    {
        StandIn leader = Bear(member, groupId, SIGCHLD);
        Call(leader, "setpgid", SyscallNumber.setpgid);
        _leaders.Add(groupId, leader);
    }

    /// <summary>A child of <paramref name="parent"/> with a number that the tree does not need.</summary>
    public StandIn BearNameless(RestoreProcess parent) => Bear(parent, 0, 0);

    /// <summary>Ends a stand-in; its parent waits for it. Its children go to the nearest subreaper.</summary>
    public void End(StandIn standIn)
    {
        standIn.Space.Batch.Clear();
        standIn.Space.Batch.Try(SyscallNumber.exit_group, 0);
        standIn.Space.Start(standIn.Task);
        while (!standIn.Task.Wait().Ended)
        {
        }

        var calls = new RemoteCalls(standIn.Parent.Space, standIn.Parent.Leader.Task);
        calls.Must("wait4", SyscallNumber.wait4, standIn.Pid, 0, __WALL, 0);
        calls.Flush();
        standIn.Space.Dispose();
        _reapers.Add(standIn.Parent);
    }

    /// <summary>Ends the leaders' stand-ins: nobody joins any more.</summary>
    public void EndLeaders()
    {
        foreach (StandIn leader in _leaders.Values) End(leader);
        _leaders.Clear();
    }

    /// <summary>Kills what is left after a failure.</summary>
    public void Dispose()
    {
        foreach (StandIn leader in _leaders.Values)
        {
            Sys.Kill(leader.Pid, SIGKILL);
            while (!leader.Task.Wait().Ended)
            {
            }

            leader.Space.Dispose();
        }

        _leaders.Clear();
    }

    private StandIn Bear(RestoreProcess parent, int pid, int exitSignal)
    {
        for (; ; )
        {
            int number = pid != 0 ? pid : NextFree();
            var calls = new RemoteCalls(parent.Space, parent.Leader.Task);
            calls.Room(160, 2);
            RemoteAddress setTid = calls.Batch.Data(number);
            RemoteAddress arguments = calls.Batch.Data(new CloneArgs
            {
                flags = CLONE_PTRACE,
                exit_signal = (ulong)exitSignal,
                set_tid = setTid.Value,
                set_tid_size = 1,
            });
            int clone = calls.Try(SyscallNumber.clone3, arguments, Marshal.SizeOf<CloneArgs>());
            SysResult made = calls.RunAndKeep().Result(clone);
            calls.Batch.Clear();
            if (made.Errno == Errno.EEXIST && pid == 0) continue;
            if (made.Errno == Errno.EEXIST) throw new CheckpointException(ErrorCode.PidInUse, "the number of an ended session or group leader is in use") { Pid = pid };
            made.OrThrow("clone3", $"a stand-in of {parent}");
            return new StandIn(number, parent, Births.NewTask(number, parent, parent.Leader.Task), new RemoteSpace(scratch, parent.Space.SyscallInstruction));
        }
    }

    /// <summary>A number that no task of the images has; descending, as the kernel hands them out ascending.</summary>
    private int NextFree()
    {
        if (_nextFree == 0) _nextFree = Sys.ReadNumber("/proc/sys/kernel/pid_max", 32768) - 1;
        while (_nextFree > 300 && context.Contents.Cores.ContainsKey((uint)_nextFree)) _nextFree--;
        return _nextFree--;
    }

    private static void Call(StandIn standIn, string name, long number)
    {
        var calls = new RemoteCalls(standIn.Space, standIn.Task);
        calls.Must(name, number, 0, 0);
        calls.Flush();
    }
}
