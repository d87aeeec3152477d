namespace CriuPmem.Remote;

/// <summary>What a wait for a task told (ptrace(2), "Stopped tracees").</summary>
/// <param name="Status">The wait status.</param>
internal readonly record struct TaskStop(int Status)
{
    /// <summary>The task is gone.</summary>
    public bool Ended => (Status & 0xFF) != 0x7F;

    /// <summary>The signal that stopped it.</summary>
    public int Signal => (Status >> 8) & 0xFF;

    /// <summary>The ptrace event, or 0 for a signal-delivery stop.</summary>
    public int Event => Status >> 16;

    /// <summary>Stopped by PTRACE_INTERRUPT or new-born (event stop with SIGTRAP).</summary>
    public bool IsInterrupt => Event == PTRACE_EVENT_STOP && Signal == SIGTRAP;

    /// <summary>In a group stop: SIGSTOP and the like.</summary>
    public bool IsGroupStop => Event == PTRACE_EVENT_STOP && Signal != SIGTRAP;

    /// <summary>How it ended, in words.</summary>
    public string Describe() => !Ended ? $"stopped by signal {Signal}, event {Event}"
        : (Status & 0x7F) == 0 ? $"exited with status {(Status >> 8) & 0xFF}" : $"killed by signal {Status & 0x7F}";
}
