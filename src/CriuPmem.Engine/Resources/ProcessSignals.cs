using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>Signals that are pending for the whole process (sigpending(2)).</summary>
internal sealed class ProcessSignals : TaskState
{
    /// <inheritdoc />
    public override Action? Dump(SyscallBatch batch, DumpThread thread)
    {
        thread.Core.Tc.SignalsS = SignalQueue.Read(thread.Task.Tid, shared: true);
        return SignalQueue.CountOverruns(
            batch, thread.Core.Tc.SignalsS, thread.Core.ThreadCore.SignalsP, thread.Process.Pid, thread.Task.Tid, shared: true);
    }

    /// <inheritdoc />
    public override void Restore(RemoteCalls calls, RestoreThread thread) =>
        SignalQueue.Send(calls, thread.Core.Tc.SignalsS, thread.Process.Pid, thread.Tid, shared: true);
}
