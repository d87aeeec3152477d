namespace CriuPmem.Images;

/// <summary>What a process is doing (<c>task_core_entry.task_state</c>).</summary>
internal enum TaskState : uint
{
    /// <summary>It runs, or waits in the kernel.</summary>
    Alive = 1,

    /// <summary>It is a zombie: only its exit status is left.</summary>
    Dead = 2,

    /// <summary>It is stopped by a signal.</summary>
    Stopped = 3,
}
