using System.Runtime.InteropServices;

namespace CriuPmem.Engine.Restore;

/// <summary>Takes note of threads of the tree that end while it is restored.</summary>
/// <remarks>
/// The kernel does not tell of a main thread's end as long as one of its threads is traced, has ended, and was not waited for: who kills
/// the tree (the guardian of a lazy restore, the kernel when memory is short) would leave the tracer waiting for ever. Any thread of the
/// engine may wait for the tracer's tasks; stops are left to the tracer.
/// </remarks>
internal sealed class ThreadReaper : IDisposable
{
    private const int P_PID = 1, CLD_EXITED = 1, CLD_KILLED = 2, CLD_DUMPED = 3;
    private const int IntervalMs = 20, SiginfoBytes = 128, CodeOffset = 8, PidOffset = 16;

    private readonly List<int> _tids;
    private readonly ManualResetEventSlim _ended = new();
    private readonly Thread? _thread;

    /// <summary>Begins, if a process of the tree has several threads.</summary>
    public ThreadReaper(IEnumerable<RestoreProcess> processes)
    {
        _tids = [.. processes.SelectMany(static process => process.Threads.Skip(1)).Select(static thread => thread.Tid)];
        if (_tids.Count == 0) return;
        _thread = new Thread(Reap, 128 * 1024) { IsBackground = true, Name = "reaper" };
        _thread.Begin();
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _ended.Set();
        _thread?.Join();
        _ended.Dispose();
    }

    private void Reap()
    {
        while (!_ended.Wait(IntervalMs)) _tids.RemoveAll(static tid => HasEnded(tid) && Wait(tid, 0, out _));
    }

    /// <summary>Looks without taking anything: the stop of a traced task is told, too, whatever is asked for.</summary>
    private static bool HasEnded(int tid) => Wait(tid, WNOWAIT, out int code) && code is CLD_EXITED or CLD_KILLED or CLD_DUMPED;

    private static unsafe bool Wait(int tid, int options, out int code)
    {
        byte* siginfo = stackalloc byte[SiginfoBytes];
        NativeMemory.Clear(siginfo, SiginfoBytes);
        SysResult waited = Syscall.Invoke(SyscallNumber.waitid, P_PID, tid, (long)siginfo, options | WEXITED | WNOHANG | __WALL, 0);
        code = *(int*)(siginfo + CodeOffset);
        return !waited.Failed && *(int*)(siginfo + PidOffset) != 0;
    }
}
