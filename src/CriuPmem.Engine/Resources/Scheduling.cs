using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;
using Google.Protobuf;

namespace CriuPmem.Engine.Resources;

/// <summary>How a thread is scheduled: policy, priority, nice value (sched_setattr(2)), CPUs, I/O priority.</summary>
internal sealed unsafe class Scheduling : TaskState
{
    private const int IOPRIO_WHO_PROCESS = 1, PRIO_PROCESS = 0, MaxCpuBytes = 1024;
    private const ulong SCHED_FLAG_RESET_ON_FORK = 1;
    private const uint SCHED_RESET_ON_FORK = 0x40000000;

    /// <summary>Gives one thread the policy of another, also where that is not inherited (SCHED_RESET_ON_FORK).</summary>
    public static void Copy(int from, int to)
    {
        SchedAttr attributes;
        Syscall.Invoke(SyscallNumber.sched_getattr, from, (long)&attributes, sizeof(SchedAttr), 0).OrThrow("sched_getattr", $"task {from}");
        Syscall.Invoke(SyscallNumber.sched_setattr, to, (long)&attributes, 0).OrThrow("sched_setattr", $"task {to}");
    }

    /// <inheritdoc />
    public override Action? Dump(SyscallBatch batch, DumpThread thread)
    {
        int tid = thread.Task.Tid;
        ThreadCoreEntry core = thread.Core.ThreadCore;
        ThreadMoreEntry more = core.More ??= new ThreadMoreEntry();
        SchedAttr attributes;
        Syscall.Invoke(SyscallNumber.sched_getattr, tid, (long)&attributes, sizeof(SchedAttr), 0).OrThrow("sched_getattr", thread.Process.ToString());
        core.SchedNice = (int)thread.Stat.Nice; // sched_getattr tells it for ordinary policies only
        if (attributes.Priority != 0) core.SchedPrio = attributes.Priority;
        bool resets = (attributes.Flags & SCHED_FLAG_RESET_ON_FORK) != 0;
        core.SchedPolicy = attributes.Policy | (resets ? SCHED_RESET_ON_FORK : 0); // as sched_getscheduler(2) tells it
        if (attributes.Policy == 6) // SCHED_DEADLINE
        {
            more.SchedRuntime = attributes.Runtime;
            more.SchedDeadline = attributes.Deadline;
            more.SchedPeriod = attributes.Period;
        }

        byte* mask = stackalloc byte[MaxCpuBytes];
        SysResult bytes = Syscall.Invoke(SyscallNumber.sched_getaffinity, tid, MaxCpuBytes, (long)mask);
        if (!bytes.Failed) more.Affinity = ByteString.CopyFrom(new ReadOnlySpan<byte>(mask, bytes.Value));
        SysResult io = Syscall.Invoke(SyscallNumber.ioprio_get, IOPRIO_WHO_PROCESS, tid);
        if (!io.Failed) more.IoPriority = (uint)io.Value;
        return null;
    }

    /// <inheritdoc />
    public override void Restore(RemoteCalls calls, RestoreThread thread)
    {
        ThreadCoreEntry core = thread.Core.ThreadCore;
        if (IsInherited(core, thread.Process.Context.Inherited.Scheduling)) return;
        int tid = thread.Tid;
        var attributes = new SchedAttr
        {
            SizeBytes = (uint)sizeof(SchedAttr),
            Policy = core.SchedPolicy & ~SCHED_RESET_ON_FORK,
            Nice = core.SchedNice,
            Priority = core.SchedPrio,
            Flags = (core.SchedPolicy & SCHED_RESET_ON_FORK) != 0 ? SCHED_FLAG_RESET_ON_FORK : 0,
            Runtime = core.More?.SchedRuntime ?? 0,
            Deadline = core.More?.SchedDeadline ?? 0,
            Period = core.More?.SchedPeriod ?? 0,
        };
        if (core.More is { HasAffinity: true } more)
        {
            fixed (byte* mask = more.Affinity.Span) Affinity(thread, tid, mask, more.Affinity.Length);
        }

        // Of real-time and idle tasks too: they have it back when their policy changes.
        Syscall.Invoke(SyscallNumber.setpriority, PRIO_PROCESS, tid, core.SchedNice).OrThrow("setpriority", $"{thread.Process}");
        Syscall.Invoke(SyscallNumber.sched_setattr, tid, (long)&attributes, 0).OrThrow("sched_setattr", $"{thread.Process}");
        if (core.More is { HasIoPriority: true, IoPriority: not 0 })
        {
            Syscall.Invoke(SyscallNumber.ioprio_set, IOPRIO_WHO_PROCESS, tid, core.More.IoPriority).OrThrow("ioprio_set", $"{thread.Process}");
        }
    }

    /// <summary>How the calling thread is scheduled; null when not as most are, so that others may not inherit it.</summary>
    public static Ordinary? Own()
    {
        SchedAttr attributes;
        if (Syscall.Invoke(SyscallNumber.sched_getattr, 0, (long)&attributes, sizeof(SchedAttr), 0).Failed) return null;
        byte* mask = stackalloc byte[MaxCpuBytes];
        SysResult bytes = Syscall.Invoke(SyscallNumber.sched_getaffinity, 0, MaxCpuBytes, (long)mask);
        if (bytes.Failed || attributes.Policy != 0 || attributes.Flags != 0) return null;
        return new Ordinary(attributes.Nice, ByteString.CopyFrom(new ReadOnlySpan<byte>(mask, bytes.Value)));
    }

    private static bool IsInherited(ThreadCoreEntry core, Ordinary? own) =>
        own is not null && core.SchedPolicy == 0 && core.SchedPrio == 0 && core.SchedNice == own.Nice && core.More is { IoPriority: 0 } more &&
        (!more.HasAffinity || more.Affinity.Equals(own.Affinity)) && more is { SchedRuntime: 0, SchedDeadline: 0, SchedPeriod: 0 };

    private static void Affinity(RestoreThread thread, int tid, byte* mask, int lengthBytes)
    {
        SysResult set = Syscall.Invoke(SyscallNumber.sched_setaffinity, tid, lengthBytes, (long)mask);
        if (set.Errno == Errno.EINVAL) return; // none of its CPUs exists here: it runs on all that do
        set.OrThrow("sched_setaffinity", $"{thread.Process}");
    }

    /// <summary>SCHED_OTHER, and what goes with it.</summary>
    public sealed record Ordinary(int Nice, ByteString Affinity);

    /// <summary>struct sched_attr (sched_setattr(2)).</summary>
    private struct SchedAttr
    {
        public uint SizeBytes, Policy;
        public ulong Flags;
        public int Nice;
        public uint Priority;
        public ulong Runtime, Deadline, Period;
        public uint UtilMin, UtilMax;
    }
}
