namespace CriuPmem.Engine.Resources;

/// <summary>The registry of kinds of task state, in the order in which they are restored: most restrictive last.</summary>
internal static class TaskStates
{
    /// <summary>State of a process, saved and restored by its leader.</summary>
    public static IReadOnlyList<TaskState> OfProcess { get; } =
    [
        new SignalActions(),
        new ProcessAttributes(),
        new IntervalTimers(),
        new PosixTimers(),
        new ResourceLimits(),
        new ProcessSignals(),
    ];

    /// <summary>State of every thread.</summary>
    public static IReadOnlyList<TaskState> OfThread { get; } =
    [
        new ThreadAttributes(),
        new RestartableSequence(),
        new Scheduling(),
        new ThreadSignals(),
        new Credentials(),
    ];
}
