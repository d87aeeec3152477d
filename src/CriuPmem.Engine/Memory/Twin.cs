using System.Diagnostics;
using CriuPmem.Engine.Dump;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Memory;

/// <summary>A process's memory as it was at one moment, held by a copy of it that never runs; its end lets go of it.</summary>
internal sealed class Twin : IDisposable
{
    private const string Name = "criu-pmem-twin";
    private const ulong NotInherited = 1UL << MADV_DONTFORK | 1UL << MADV_WIPEONFORK;

    private readonly Tracee _task;

    private Twin(Tracee task, DumpProcess process)
    {
        _task = task;
        Process = process;
    }

    /// <summary>The twin as a process to be read: it stands still, with the mappings that it has of the original.</summary>
    public DumpProcess Process { get; }

    /// <summary>True for a mapping whose pages a twin has.</summary>
    public static bool Holds(VmaEntry vma) => PagePlanner.FlagsOf(vma) != 0 && (vma.Madv & NotInherited) == 0;

    /// <summary>Has a frozen process make one.</summary>
    /// <param name="process">The process, observed.</param>
    /// <param name="log">Told why there is none.</param>
    /// <returns>Null when it cannot or should not: its memory is copied in the freeze then.</returns>
    public static Twin? TryMake(DumpProcess process, EngineLog log)
    {
        if (ReasonAgainst(process) is { } reason)
        {
            log.Info("twin", $"{process}: {reason}, so its memory is copied while it stands still");
            return null;
        }

        long begun = Stopwatch.GetTimestamp();
        Tracee? task = TwinMaker.TryMake(process.Leader.Task, process.Space!, options: 0, out Errno error);
        ProcDirectory? proc = task is null ? null : ProcDirectory.TryOpen(task.Tid);
        if (proc?.Stat() is not { } stat)
        {
            TwinMaker.End(task?.Tid ?? 0);
            log.Info("twin", $"{process}: it cannot fork ({error}), so its memory is copied while it stands still");
            return null;
        }

        var twin = new Twin(task!, new DumpProcess(task!.Tid, proc, stat));
        try
        {
            twin.Process.Mappings.AddRange(process.Mappings);
            twin.Process.Memory.Vmas.AddRange(process.Memory.Vmas.Where(Holds));
            twin.Detach(process);
            log.Debug("twin", $"{process}: forked {task.Tid} in {Stopwatch.GetElapsedTime(begun).TotalMicroseconds:0} us");
            return twin;
        }
        catch
        {
            twin.Dispose();
            throw;
        }
    }

    /// <summary>False when somebody has killed it.</summary>
    public bool IsAlive => Process.Proc.Stat() is { State: not ('Z' or 'X') };

    /// <inheritdoc />
    public void Dispose()
    {
        TwinMaker.End(_task.Tid);
        Process.Dispose();
    }

    private static string? ReasonAgainst(DumpProcess process)
    {
        if (process.Threads.Exists(thread => thread.Status.Seccomp != 0)) return "its system calls are filtered";
        if (process.Leader.Status.NamespacePids.Length > 1) return "it lives in a pid namespace";
        // SIGCHLD is ignored for a moment, and the kernel throws pending ones away.
        const ulong childSignal = 1UL << (SIGCHLD - 1);
        if (process.Threads.Exists(thread => ((thread.Status.PendingThread | thread.Status.PendingProcess) & childSignal) != 0)) return "it has a SIGCHLD pending";
        for (DumpProcess? above = process; above is not null; above = above.Parent)
        {
            if (above.Leader.Core.Tc is { ChildSubreaper: true }) return $"orphans go to {above}, which would see its twin";
        }

        // Whoever watches may have asked to be told of forks, which wait for the answer.
        bool watched = process.Tracker is null && process.Mappings.Exists(mapping => (mapping.Flags & VmFlags.UffdWriteProtect) != 0);
        return watched ? "another process tracks its memory" : null;
    }

    /// <summary>Has the twin let go of what others could notice: shared mappings, the name; and lets the kernel end it first when memory is short.</summary>
    private void Detach(DumpProcess original)
    {
        SysResult opened = Sys.OpenAt(Process.Proc.Fd, "oom_score_adj", O_WRONLY | O_CLOEXEC);
        using (var score = new OwnedFd(opened.Failed ? -1 : opened.Value)) Sys.Write(score.Fd, "1000"u8);
        using var space = new RemoteSpace(original.Space!.Batch.Scratch, original.Space.SyscallInstruction) { EndSignal = original.Space.EndSignal };
        var calls = new RemoteCalls(space, _task);
        foreach (MemoryMapping mapping in original.Mappings)
        {
            if (mapping.Shared && (mapping.Flags & VmFlags.DontCopy) == 0) calls.Try(SyscallNumber.munmap, (long)mapping.Start, (long)mapping.LengthBytes);
        }

        calls.Room(64);
        calls.Try(SyscallNumber.prctl, PR_SET_NAME, calls.Batch.Data(LinuxText.EncodeZ(Name)));
        calls.Flush();
    }
}
