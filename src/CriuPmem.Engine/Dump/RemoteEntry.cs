using CriuPmem.Remote;

namespace CriuPmem.Engine.Dump;

/// <summary>How remote calls come into a frozen process.</summary>
internal static class RemoteEntry
{
    /// <summary>Makes a scratch mapping in a process, whose threads' status is known.</summary>
    /// <exception cref="CheckpointException">There is no way in.</exception>
    public static RemoteSpace Open(DumpProcess process)
    {
        (RemoteAddress syscall, RemoteAddress address) = VdsoCode.Find(process);
        VdsoTail tail = VdsoTail.TryOpen(process.Proc, address)
            ?? throw process.Fail(ErrorCode.UnsupportedState, "its vDSO cannot be used for the engine's first call in it");
        try
        {
            return RemoteSpace.Create(process.Leader.Task, syscall, tail, EndSignal(process));
        }
        catch (CheckpointException failure)
        {
            failure.ProcessName ??= process.Stat.Comm;
            tail.Clear();
            tail.Dispose();
            throw;
        }
    }

    /// <summary>Removes it, by the process's first thread.</summary>
    public static void Close(DumpProcess process, RemoteSpace space)
    {
        space.Remove(process.Leader.Task);
        space.Tail?.Clear();
    }

    /// <summary>
    /// The signal with which remote calls end: one that does nothing by default, and that the program neither handles nor
    /// has pending, so that it does no harm if it comes when the engine is gone.
    /// </summary>
    private static int EndSignal(DumpProcess process)
    {
        ulong taken = process.Leader.Status.Caught | process.Leader.Status.PendingProcess;
        foreach (DumpThread thread in process.Threads) taken |= thread.Status.PendingThread;
        foreach (int signal in (ReadOnlySpan<int>)[SIGURG, SIGWINCH, SIGCHLD, SIGCONT])
        {
            if ((taken >> (signal - 1) & 1) == 0) return signal;
        }

        return SIGURG;
    }
}
