using CriuPmem.Engine.Lazy;

namespace CriuPmem.Engine;

/// <summary>The pager of a lazy restore, as a process of its own: this program, started by <see cref="RestoreJob"/>.</summary>
public static class PagerJob
{
    /// <summary>Serves until all memory is there; returns the exit code.</summary>
    /// <param name="planFd">The memory file with the plan, inherited like every descriptor that it names.</param>
    public static int Run(int planFd)
    {
        EngineLog log = EngineLog.None;
        try
        {
            TakeName();
            PagerPlan plan = PagerPlan.Read(planFd);
            Sys.Close(planFd);
            if (plan.LogFd >= 0) log = new EngineLog(plan.LogFd, plan.LogLevel);
            using var files = new PagerFiles();
            foreach ((int fd, ulong lengthBytes, bool compressed) in plan.Files) files.Add(new OwnedFd(fd), lengthBytes, compressed, $"the pages file of descriptor {fd}");
            var control = new PagerSignal(plan.ControlFd);
            var pager = new Pager(files, control, HotPages.Open(plan.DirectoryFd, log), log);
            foreach (int pid in plan.Pids) pager.Guard(pid);
            foreach (PagerPlan.Space space in plan.Spaces) pager.Add(space.Fd, space.Pid, space.Pid, space.Runs, space.Huge);
            pager.Run(control.Tell);
            files.Dispose();
            pager.MakeHugePages();
            return 0;
        }
        catch (Exception ended) when (ended is not OutOfMemoryException)
        {
            // The guardian sees the end of this process, and ends the tree: it must not see zeros.
            log.Error("lazy", $"the pager failed, which ends the tree: {(ended is CheckpointException known ? ResourceLimit.Explain(known) : ended).Message}");
            return 1;
        }
    }

    /// <summary>A name for ps(1); and the kernel's search for memory passes it by, since the tree would end with it.</summary>
    private static unsafe void TakeName()
    {
        fixed (byte* name = "criu-pmem-pager\0"u8) Sys.Prctl(PR_SET_NAME, (long)name);
        SysResult opened = Sys.OpenAt(AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (opened.Failed) return;
        Sys.WriteAll(opened.Value, "-1000"u8);
        Sys.Close(opened.Value);
    }
}
