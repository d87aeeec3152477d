using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;
using Google.Protobuf;

namespace CriuPmem.Engine.Resources;

/// <summary>Small per-thread settings: name, robust futex list, clear_child_tid, parent-death signal, timer slack.</summary>
internal sealed unsafe class ThreadAttributes : TaskState
{
    private const int RobustListHeadBytes = 24;

    /// <inheritdoc />
    public override Action? Dump(SyscallBatch batch, DumpThread thread)
    {
        ThreadCoreEntry core = thread.Core.ThreadCore;
        int tid = thread.Task.Tid;
        core.Comm = ByteString.CopyFrom(LinuxText.Encode(thread.Stat.Comm));
        ulong head, lengthBytes;
        Syscall.Invoke(SyscallNumber.get_robust_list, tid, (long)&head, (long)&lengthBytes).OrThrow("get_robust_list", thread.Process.ToString());
        core.FutexRla = head;
        core.FutexRlaLen = (uint)lengthBytes;
        RemoteAddress values = batch.Reserve(16);
        batch.Must("prctl(PR_GET_PDEATHSIG)", SyscallNumber.prctl, PR_GET_PDEATHSIG, values);
        int clear = batch.Try(SyscallNumber.prctl, PR_GET_TID_ADDRESS, values + 8);
        int remoteSlack = batch.Try(SyscallNumber.prctl, PR_GET_TIMERSLACK);
        return () =>
        {
            uint signal = batch.At<uint>(values);
            if (signal != 0) core.PdeathSig = signal;
            if (batch.Result(clear).Failed) throw thread.Process.Fail(ErrorCode.KernelFeature, "the kernel does not tell clear_child_tid (CONFIG_CHECKPOINT_RESTORE)");
            thread.Core.ThreadInfo.ClearTidAddr = batch.At<ulong>(values + 8);
            CheckStandIn(thread);
            if (!batch.Result(remoteSlack).Failed) (core.More ??= new ThreadMoreEntry()).TimerSlackNs = (ulong)batch.Result(remoteSlack).Raw;
        };
    }

    /// <summary>
    /// A thread that stands for an ended main thread is the main thread in the image, and gets its id. The C library keeps
    /// the id of each thread that it made, and would be wrong; of a vfork child's second thread it knows nothing.
    /// </summary>
    private static void CheckStandIn(DumpThread thread)
    {
        if (thread.ImageTid == thread.Task.Tid || VforkPages.IsWord(thread.Task, thread.Core.ThreadInfo.ClearTidAddr)) return;
        throw thread.Process.Fail(
            ErrorCode.UnsupportedState, $"its main thread has ended while thread {thread.Task.Tid} goes on, whose id could not be kept",
            "Let the main thread wait for the others instead of ending alone (pthread_exit)");
    }

    /// <inheritdoc />
    public override void Restore(RemoteCalls calls, RestoreThread thread)
    {
        ThreadCoreEntry core = thread.Core.ThreadCore;
        calls.Room(32, 5);
        Span<byte> name = stackalloc byte[16];
        name.Clear();
        ByteString comm = core.HasComm ? core.Comm : thread.Core.Tc?.Comm ?? ByteString.Empty;
        comm.Span[..Math.Min(15, comm.Length)].CopyTo(name);
        calls.Must("prctl(PR_SET_NAME)", SyscallNumber.prctl, PR_SET_NAME, calls.Batch.Data(name));
        if (core.FutexRla != 0)
        {
            int lengthBytes = core.FutexRlaLen == 0 ? RobustListHeadBytes : (int)core.FutexRlaLen;
            calls.Must("set_robust_list", SyscallNumber.set_robust_list, (long)core.FutexRla, lengthBytes);
        }

        calls.Must("set_tid_address", SyscallNumber.set_tid_address, (long)thread.Core.ThreadInfo.ClearTidAddr);
        if (core.More is { HasTimerSlackNs: true } more) calls.Must("prctl(PR_SET_TIMERSLACK)", SyscallNumber.prctl, PR_SET_TIMERSLACK, (long)more.TimerSlackNs);
    }
}
