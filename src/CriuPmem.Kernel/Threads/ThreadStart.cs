namespace CriuPmem.Kernel;

/// <summary>Starts threads where a limit may forbid one more (ulimit -u, pids.max of a control group): the runtime calls that a lack of memory.</summary>
internal static class ThreadStart
{
    /// <summary>Starts a thread that the work cannot do without.</summary>
    /// <exception cref="CheckpointException">The limit is reached.</exception>
    public static void Begin(this Thread thread)
    {
        if (!thread.TryBegin()) throw ResourceLimit.NoMoreTasks("a thread of criu-pmem cannot be started");
    }

    /// <summary>Starts a thread that only makes the work faster; false when the limit is reached.</summary>
    public static bool TryBegin(this Thread thread)
    {
        try
        {
            thread.Start();
            return true;
        }
        catch (OutOfMemoryException)
        {
            return false;
        }
    }
}
