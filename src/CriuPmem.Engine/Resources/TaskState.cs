using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>One kind of state of a thread (or, for a leader, of its process): its dump and its restore, side by side.</summary>
internal abstract class TaskState
{
    /// <summary>Saves what can be seen from outside into the thread's core, and asks for the rest.</summary>
    /// <param name="batch">Where calls are added that only the task itself can make.</param>
    /// <param name="thread">The thread.</param>
    /// <returns>What to do with the results of those calls, or null.</returns>
    /// <exception cref="CheckpointException">The state cannot be saved.</exception>
    public abstract Action? Dump(SyscallBatch batch, DumpThread thread);

    /// <summary>Puts the state back: from outside at once, or by calls of the task itself.</summary>
    public abstract void Restore(RemoteCalls calls, RestoreThread thread);
}
