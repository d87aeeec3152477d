using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>A thread's signal mask, pending signals and alternate stack (sigaltstack(2)).</summary>
internal sealed class ThreadSignals : TaskState
{
    private const int SS_ONSTACK = 1, SS_DISABLE = 2;

    /// <inheritdoc />
    public override Action? Dump(SyscallBatch batch, DumpThread thread)
    {
        ThreadCoreEntry core = thread.Core.ThreadCore;
        if (thread.IsLeader) thread.Core.Tc.BlkSigset = thread.Task.SignalMask;
        else core.BlkSigset = thread.Task.SignalMask;
        core.SignalsP = SignalQueue.Read(thread.Task.Tid, shared: false);
        RemoteAddress stack = batch.Reserve(Marshal.SizeOf<StackT>());
        batch.Must("sigaltstack", SyscallNumber.sigaltstack, 0, stack);
        Action? overruns = SignalQueue.CountOverruns(
            batch, core.SignalsP, null, thread.Process.Pid, thread.Task.Tid, shared: false);
        return () =>
        {
            overruns?.Invoke();
            StackT found = batch.At<StackT>(stack);
            core.Sas = new ThreadSasEntry { SsSp = found.sp, SsSize = found.size, SsFlags = (uint)found.flags };
        };
    }

    /// <inheritdoc />
    public override void Restore(RemoteCalls calls, RestoreThread thread)
    {
        ThreadCoreEntry core = thread.Core.ThreadCore;
        if (core.Sas is not null)
        {
            calls.Room(32);
            // SS_ONSTACK is where the stack pointer is, not a setting.
            var stack = new StackT { sp = core.Sas.SsSp, size = core.Sas.SsSize, flags = (int)core.Sas.SsFlags & ~SS_ONSTACK };
            if ((stack.flags & SS_DISABLE) != 0) stack = new StackT { flags = SS_DISABLE };
            calls.Must("sigaltstack", SyscallNumber.sigaltstack, calls.Batch.Data(stack), 0);
        }

        SignalQueue.Send(calls, core.SignalsP, thread.Process.Pid, thread.Tid, shared: false);
    }

    /// <summary>stack_t.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct StackT
    {
        public ulong sp;
        public int flags;
        public ulong size;
    }
}
