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
            1 << 20) { Name = "tracer" };
        thread.Start();
        thread.Join();
        failure?.Throw();
        return result!;
    }
}
