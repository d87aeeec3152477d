using CriuPmem.Engine.Resources;
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

    /// <summary>True for the thread that leads the process, or stands for the one that did.</summary>
    public bool IsLeader => Task.Tid == Process.TaskId;

    /// <summary>Its id in the images: the leader's is the process's.</summary>
    public int ImageTid => IsLeader ? Process.Pid : Task.Tid;

    /// <summary>/proc/PID/task/TID/status.</summary>
    public ProcStatus Status { get; set; } = null!;

    /// <summary>/proc/PID/task/TID/stat.</summary>
    public ProcStat Stat { get; set; } = null!;

    /// <summary>What is read of it ahead; null when nothing is.</summary>
    public Ahead<ThreadFacts>? Facts { get; set; }

    /// <summary>What goes into core-TID.img.</summary>
    public CoreEntry Core { get; } = new() { ThreadCore = new ThreadCoreEntry() };

    /// <summary>Learns what remote calls have to know of the frozen thread, and lets them through its seccomp.</summary>
    /// <exception cref="CheckpointException">No call can be run in it.</exception>
    public void MakeReady()
    {
        (Status, Stat) = Facts?.Value ?? ThreadFacts.Read(Process, Task.Tid);
        // No call can be run in it: waiting for one would never end.
        if (Stat.IsIoWorker)
        {
            throw Process.Fail(
                ErrorCode.UnsupportedFile, "it has requests under way in io_uring, which cannot be saved yet",
                "Start the program without io_uring (MariaDB: --innodb-use-native-aio=0)", $"thread {Task.Tid}, {Stat.Comm}");
        }

        if (Registers.IsCompat(Task.Registers)) throw Process.Fail(ErrorCode.UnsupportedState, "32-bit programs cannot be saved yet");
        Task.IgnoresTrap = (Status.Ignored >> (SIGTRAP - 1) & 1) != 0;
        Seccomp.Suspend(this);
    }
}
