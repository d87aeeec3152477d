namespace CriuPmem.Remote;

/// <summary>Waits for the numbers of processes that have ended.</summary>
/// <remarks>
/// What a dump killed is gone only when its parent has waited for it, and inits take their time; and its number stays in
/// use while it is that of a group or session with any member left, zombies included.
/// </remarks>
internal static class PidPatience
{
    private const int MaxMs = 3000;

    /// <summary>Waits a millisecond if a number may become free.</summary>
    /// <param name="pid">The number.</param>
    /// <param name="waitedMs">How often this was called before.</param>
    /// <returns>False when a live process has it, or it has taken too long.</returns>
    public static bool Wait(int pid, int waitedMs)
    {
        Interruption.Check();
        if (waitedMs >= MaxMs || !IsEnding(pid)) return false;
        Sys.SleepMicroseconds(1000);
        return true;
    }

    /// <summary>Who it is that is waited for.</summary>
    public static string Describe(int pid)
    {
        using ProcDirectory? holder = ProcDirectory.TryOpen(pid);
        return holder?.Stat() is { } stat
            ? $"{stat.Comm}, which has ended (state {stat.State}) and is waited for by its parent, process {stat.ParentPid}"
            : "a group or session with that number";
    }

    /// <summary>True when no live process has the number.</summary>
    public static bool IsEnding(int pid)
    {
        using ProcDirectory? holder = ProcDirectory.TryOpen(pid);
        if (holder?.Stat() is null or { State: 'Z' or 'X' }) return true;
        // Killed, and still at it.
        return holder.Status() is { } status && ((status.PendingProcess | status.PendingThread) >> (SIGKILL - 1) & 1) != 0;
    }

    /// <summary>The exception for a number that stays in use.</summary>
    public static CheckpointException InUse(int pid)
    {
        using ProcDirectory? holder = ProcDirectory.TryOpen(pid);
        string who = holder?.Stat()?.Comm switch
        {
            null => "a group or session with that number",
            { } comm when comm.StartsWith("memfd:criu-pmem", StringComparison.Ordinal) => "a tree that another criu-pmem is restoring just now",
            { } comm => comm,
        };
        return new CheckpointException(ErrorCode.PidInUse, $"the number {pid} is in use by {who}")
        {
            Pid = pid,
            Remedy = "End that process, or restore in a new pid namespace (for instance under: unshare --pid --fork --mount-proc)",
        };
    }
}
