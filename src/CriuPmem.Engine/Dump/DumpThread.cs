using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Dump;

/// <summary>One frozen thread, and what is known of it.</summary>
internal sealed class DumpThread(DumpProcess process, Tracee task)
{
    /// <summary>The process it belongs to.</summary>
    public DumpProcess Process { get; } = process;

    /// <summary>The traced task.</summary>
    public Tracee Task { get; } = task;

    /// <summary>True for the thread whose id is the process's.</summary>
    public bool IsLeader => Task.Tid == Process.Pid;

    /// <summary>/proc/PID/task/TID/status.</summary>
    public ProcStatus Status { get; set; } = null!;

    /// <summary>/proc/PID/task/TID/stat.</summary>
    public ProcStat Stat { get; set; } = null!;

    /// <summary>What goes into core-TID.img.</summary>
    public CoreEntry Core { get; } = new();
}
