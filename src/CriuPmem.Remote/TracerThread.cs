using System.Runtime.ExceptionServices;

namespace CriuPmem.Remote;

/// <summary>The one thread that may trace: ptrace binds a tracee to the thread that attached it (ptrace(2)).</summary>
internal static class TracerThread
{
    /// <summary>Runs a whole operation on a thread of its own and hands on its result or failure.</summary>
    /// <param name="operation">Named in failures.</param>
    /// <param name="work">The operation.</param>
    public static T Run<T>(string operation, Func<T> work)
    {
        T? result = default;
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(
            () =>
            {
                // A table of descriptors that several threads share grows only after an RCU grace period, ten milliseconds
                // each time. So the work gets its own, and every thread that it starts shares that one.
                Syscall.Invoke(SyscallNumber.unshare, (long)CLONE_FILES);
                try
                {
                    result = work();
                }
                catch (Exception exception) when (exception is not OutOfMemoryException)
                {
                    // A fault of our own too: unhandled here it would end the engine before anything is undone.
                    if (exception is CheckpointException known) known.Operation ??= operation;
                    failure = ExceptionDispatchInfo.Capture(exception);
                }
            },
            1 << 20)
        { Name = "tracer" };
        thread.Begin();
        thread.Join();
        failure?.Throw();
        return result!;
    }
}
