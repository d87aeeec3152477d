namespace CriuPmem.Engine.Dump;

/// <summary>Tells of processes outside of a tree that belong to sessions or groups whose leaders are saved.</summary>
/// <remarks>They go on without their leader; at restore the numbers may still be theirs.</remarks>
internal static class Outsiders
{
    /// <summary>Warns of each; the tree need not stand still for it.</summary>
    public static void Warn(FrozenTree tree, EngineLog log)
    {
        var saved = tree.Processes.Select(process => process.Pid).ToHashSet();
        var leaders = tree.Processes.Where(process => process.Stat.SessionId == process.Pid || process.Stat.GroupId == process.Pid).Select(process => process.Pid).ToHashSet();
        if (leaders.Count == 0 || !log.IsEnabled(EngineLog.LevelWarn)) return;
        using OwnedFd proc = Sys.OpenOrThrow(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY);
        Sys.ForEachEntry(proc.Fd, name =>
        {
            if (!int.TryParse(name, out int pid) || saved.Contains(pid)) return;
            int session = Sys.GetSid(pid), group = (int)Syscall.Quick(SyscallNumber.getpgid, pid).Raw;
            bool ofSession = leaders.Contains(session);
            if (!ofSession && !leaders.Contains(group)) return;
            using ProcDirectory? outsider = ProcDirectory.TryOpen(pid);
            // The tree may run again, and have children that are younger than the snapshot.
            if (outsider?.Stat() is not { } stat || stat.StartTimeTicks >= tree.BegunTicks) return;
            log.Warn("dump", $"{stat.Comm} ({pid}) is not in the tree and is not saved, but belongs to its {(ofSession ? "session" : "process group")} {(ofSession ? session : group)}");
        });
    }
}
