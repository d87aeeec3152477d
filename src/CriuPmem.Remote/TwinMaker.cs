using System.Runtime.InteropServices;

namespace CriuPmem.Remote;

/// <summary>Has a frozen process fork a twin: its memory as it is now (copy on write), in a process that never runs.</summary>
/// <remarks>
/// <code>
/// process ── clone3(CLONE_VM) ──► helper ── clone3 ──► twin, stopped at birth
///    │ SIGCHLD ignored              │ no files, a session of its own
///    └── wait4(helper): gone ◄──────┘ exit: the kernel gives the twin another parent
/// </code>
/// Afterwards the process has no child, no zombie, no signal and no times of children that it did not have before. The twin
/// holds none of its files open. Whoever of the three loses its tracer goes on by itself (remote.S): the process to where it
/// was, the others to their end.
/// </remarks>
internal static class TwinMaker
{
    private const int TracesBirths = PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE;

    /// <summary>Makes one.</summary>
    /// <param name="task">A thread of the process; all of them stand still. It stands stopped in its program afterwards.</param>
    /// <param name="space">The process's scratch, of which the twin has a copy.</param>
    /// <param name="options">The PTRACE_O_… options of the thread.</param>
    /// <param name="error">Why there is none.</param>
    /// <returns>The twin, killed when the engine ends; null when the kernel does not let the process fork.</returns>
    /// <exception cref="CheckpointException">The process ended.</exception>
    public static Tracee? TryMake(Tracee task, RemoteSpace space, int options, out Errno error)
    {
        SyscallBatch batch = space.Batch;
        batch.Clear();
        Span<byte> code = stackalloc byte[RemoteCode.Twin.Length];
        RemoteCode.Twin.CopyTo(code);
        Span<CloneArgs> clones = MemoryMarshal.Cast<byte, CloneArgs>(code[RemoteCode.TwinClonesOffset..])[..2];
        clones[0] = new CloneArgs { flags = CLONE_VM | CLONE_FILES, exit_signal = SIGCHLD };
        clones[1] = default;
        RemoteAddress entry = batch.Data(code);
        Sys.Ptrace(PTRACE_SETOPTIONS, task.Tid, 0, options | TracesBirths).OrThrow("ptrace(SETOPTIONS)", $"task {task.Tid}");
        int twin = 0;
        try
        {
            batch.Load(task, space.EndSignal, entry);
            task.Continue();
            int helper = task.WaitForChild(space.EndSignal);
            if (helper != 0)
            {
                task.Continue();
                twin = Bear(helper);
                task.WaitForChild(space.EndSignal);
            }

            task.PutBack();
            batch.Unload(task.Tid);
        }
        catch
        {
            End(twin);
            throw;
        }
        finally
        {
            Sys.Ptrace(PTRACE_SETOPTIONS, task.Tid, 0, options);
        }

        // Results lie behind the arguments: the helper's, then the twin's.
        ReadOnlySpan<long> results = MemoryMarshal.Cast<byte, long>(batch.Bytes(entry, code.Length)[^16..]);
        error = twin != 0 ? Errno.None : new SysResult(results[0] < 0 ? results[0] : results[1]).Errno;
        return twin == 0 ? null : Adopt(twin);
    }

    /// <summary>Ends a twin, and waits until it is gone.</summary>
    public static void End(int twin)
    {
        if (twin == 0) return;
        Sys.Kill(twin, SIGKILL);
        while (!new Tracee(twin).Wait().Ended)
        {
        }
    }

    /// <summary>Takes a helper from its birth to its end; returns the twin, or 0.</summary>
    private static int Bear(int helper)
    {
        int twin = 0;
        while (true)
        {
            TaskStop stop = new Tracee(helper).Wait();
            if (stop.Ended) return twin;
            if (stop.Event is PTRACE_EVENT_FORK or PTRACE_EVENT_CLONE) twin = ChildOf(helper);
            Sys.Ptrace(PTRACE_CONT, helper);
        }
    }

    private static unsafe int ChildOf(int tid)
    {
        ulong child;
        return Sys.Ptrace(PTRACE_GETEVENTMSG, tid, 0, (long)&child).Failed ? 0 : (int)child;
    }

    private static Tracee? Adopt(int tid)
    {
        var twin = new Tracee(tid);
        TaskStop stop = twin.Wait();
        if (stop.Ended) return null; // killed by somebody
        Sys.Ptrace(PTRACE_SETOPTIONS, tid, 0, PTRACE_O_EXITKILL);
        if (twin.LoadIfAlive()) return twin;
        End(tid);
        return null;
    }
}
