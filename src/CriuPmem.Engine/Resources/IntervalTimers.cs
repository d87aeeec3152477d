using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>The three interval timers of a process (setitimer(2)): what is left of them goes on after a restore.</summary>
internal sealed class IntervalTimers : TaskState
{
    private const int ITIMER_REAL = 0, ITIMER_VIRTUAL = 1, ITIMER_PROF = 2;

    /// <inheritdoc />
    public override Action? Dump(SyscallBatch batch, DumpThread thread)
    {
        RemoteAddress values = batch.Reserve(96);
        for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++)
        {
            batch.Must("getitimer", SyscallNumber.getitimer, which, values + (ulong)(32 * which));
        }

        return () =>
        {
            TaskTimersEntry timers = thread.Core.Tc.Timers ??= new TaskTimersEntry();
            timers.Real = Entry(batch.At<ItimerVal>(values));
            timers.Virt = Entry(batch.At<ItimerVal>(values + 32));
            timers.Prof = Entry(batch.At<ItimerVal>(values + 64));
        };
    }

    /// <inheritdoc />
    public override void Restore(RemoteCalls calls, RestoreThread thread)
    {
        TaskTimersEntry? timers = thread.Core.Tc.Timers;
        if (timers is null) return;
        calls.Room(96, 3);
        Set(calls, ITIMER_REAL, timers.Real);
        Set(calls, ITIMER_VIRTUAL, timers.Virt);
        Set(calls, ITIMER_PROF, timers.Prof);
    }

    private static void Set(RemoteCalls calls, int which, ItimerEntry? entry)
    {
        if (entry is null || (entry.Vsec == 0 && entry.Vusec == 0)) return;
        var value = new ItimerVal { IntervalSeconds = entry.Isec, IntervalMicroseconds = entry.Iusec, ValueSeconds = entry.Vsec, ValueMicroseconds = entry.Vusec };
        calls.Must("setitimer", SyscallNumber.setitimer, which, calls.Batch.Data(value), 0);
    }

    private static ItimerEntry Entry(in ItimerVal value) => new()
    {
        Isec = value.IntervalSeconds,
        Iusec = value.IntervalMicroseconds,
        Vsec = value.ValueSeconds,
        Vusec = value.ValueMicroseconds,
    };

    /// <summary>struct itimerval.</summary>
    private struct ItimerVal
    {
        public ulong IntervalSeconds, IntervalMicroseconds, ValueSeconds, ValueMicroseconds;
    }
}
