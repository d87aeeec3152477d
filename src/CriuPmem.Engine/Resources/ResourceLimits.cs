using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>Resource limits (getrlimit(2)), read from /proc/PID/limits, which needs no capability.</summary>
internal sealed class ResourceLimits : TaskState
{
    private static readonly string[] s_names =
    [
        "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
    ];

    // The kernel prints them in the order of their numbers.
    private const int Count = 16, RLIMIT_NOFILE = 7;

    /// <inheritdoc />
    public override Action? Dump(SyscallBatch batch, DumpThread thread)
    {
        var entry = new TaskRlimitsEntry();
        foreach (string line in (thread.Process.Text("limits") ?? "").Split('\n').Skip(1).Take(Count))
        {
            // "Max open files            1024                 524288               files": columns of fixed width
            string[] values = line[26..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            entry.Rlimits.Add(new RlimitEntry { Cur = Value(values[0]), Max = Value(values[1]) });
        }

        if (entry.Rlimits.Count != Count) throw thread.Process.Fail(ErrorCode.KernelFeature, "its limits cannot be read");
        thread.Core.Tc.Rlimits = entry;
        return null;
    }

    /// <inheritdoc />
    public override unsafe void Restore(RemoteCalls calls, RestoreThread thread)
    {
        if (thread.Core.Tc.Rlimits is null) return;
        ulong* wanted = stackalloc ulong[2]; // struct rlimit: current, maximum
        ulong* present = stackalloc ulong[2];
        IReadOnlyList<(ulong, ulong)> inherited = thread.Process.Context.Inherited.Limits;
        for (int i = 0; i < thread.Core.Tc.Rlimits.Rlimits.Count && i < Count; i++)
        {
            RlimitEntry limit = thread.Core.Tc.Rlimits.Rlimits[i];
            if (inherited[i] == (limit.Cur, limit.Max)) continue;
            wanted[0] = limit.Cur;
            wanted[1] = limit.Max;
            SysResult set = Syscall.Invoke(SyscallNumber.prlimit64, thread.Process.Pid, i, (long)wanted, (long)present);
            if (!set.Failed) continue;
            Syscall.Invoke(SyscallNumber.prlimit64, thread.Process.Pid, i, 0, (long)present);
            if (present[0] == limit.Cur && present[1] == limit.Max) continue;
            throw new CheckpointException(ErrorCode.NotPermitted, $"its RLIMIT_{s_names[i]} cannot be set to {Text(limit.Cur)} of {Text(limit.Max)} (it is {Text(present[0])} of {Text(present[1])} here)")
            {
                Pid = thread.Process.Pid,
                ProcessName = thread.Process.Name,
                Errno = set.Errno,
                Remedy = "Start the restore with limits at least as high, or give it CAP_SYS_RESOURCE",
            };
        }
    }

    /// <summary>The engine's own, by number.</summary>
    public static unsafe IReadOnlyList<(ulong Current, ulong Maximum)> Own()
    {
        var own = new (ulong, ulong)[Count];
        ulong* limit = stackalloc ulong[2]; // struct rlimit
        for (int i = 0; i < Count; i++)
        {
            Syscall.Invoke(SyscallNumber.prlimit64, 0, i, 0, (long)limit).OrThrow("prlimit64", "the engine");
            own[i] = (limit[0], limit[1]);
        }

        return own;
    }

    private static string Text(ulong limit) => limit == ulong.MaxValue ? "unlimited" : limit.ToString(CultureInfo.InvariantCulture);

    private static ulong Value(string text) => text == "unlimited" ? ulong.MaxValue : ulong.Parse(text, CultureInfo.InvariantCulture);
}
