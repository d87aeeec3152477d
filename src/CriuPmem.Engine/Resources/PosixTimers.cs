using System.Globalization;
using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>POSIX timers (timer_create(2)) with the ids that the program knows them by.</summary>
/// <remarks>
/// /proc/PID/timers tells what they notify; the time left only the process itself can ask. An id is restored by
/// PR_TIMER_CREATE_RESTORE_IDS (since Linux 6.15), else by creating and deleting timers until the number comes up.
/// </remarks>
internal sealed class PosixTimers : TaskState
{
    private const int MaxStepsToId = 100_000;

    /// <inheritdoc />
    public override Action? Dump(SyscallBatch batch, DumpThread thread)
    {
        TaskTimersEntry timers = thread.Core.Tc.Timers ??= new TaskTimersEntry();
        var later = new List<Action>();
        foreach (PosixTimerEntry timer in Parse(thread.Process.Text("timers") ?? ""))
        {
            timers.Posix.Add(timer);
            if (timer.HasNotifyThreadId && timer.NotifyThreadId == thread.Task.Tid) timer.NotifyThreadId = thread.ImageTid;
            RemoteAddress value = batch.Reserve(32);
            batch.Must("timer_gettime", SyscallNumber.timer_gettime, timer.ItId, value);
            int overrun = batch.Must("timer_getoverrun", SyscallNumber.timer_getoverrun, timer.ItId);
            later.Add(() =>
            {
                Itimerspec left = batch.At<Itimerspec>(value);
                timer.Isec = left.IntervalSeconds;
                timer.Insec = left.IntervalNanoseconds;
                timer.Vsec = left.ValueSeconds;
                timer.Vnsec = left.ValueNanoseconds;
                timer.Overrun = (uint)batch.Result(overrun).Value;
            });
        }

        return () => later.ForEach(read => read());
    }

    /// <inheritdoc />
    public override void Restore(RemoteCalls calls, RestoreThread thread)
    {
        if (thread.Core.Tc.Timers is not { Posix.Count: > 0 } timers) return;
        calls.Flush();
        int mode = calls.Try(SyscallNumber.prctl, PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_ON);
        bool byRequest = !calls.RunAndKeep().Result(mode).Failed;
        calls.Batch.Clear();
        int next = 0;
        foreach (PosixTimerEntry timer in timers.Posix.OrderBy(timer => timer.ItId))
        {
            if (byRequest) Create(calls, timer, thread, (int)timer.ItId);
            else next = CreateByCounting(calls, timer, thread, next);
            if (timer.Vsec == 0 && timer.Vnsec == 0) continue;
            calls.Room(32);
            var value = new Itimerspec { IntervalSeconds = timer.Isec, IntervalNanoseconds = timer.Insec, ValueSeconds = timer.Vsec, ValueNanoseconds = timer.Vnsec };
            calls.Must("timer_settime", SyscallNumber.timer_settime, timer.ItId, 0, calls.Batch.Data(value), 0);
        }

        if (byRequest) calls.Must("prctl(PR_TIMER_CREATE_RESTORE_IDS)", SyscallNumber.prctl, PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_OFF);
    }

    /// <summary>Parses /proc/PID/timers (proc_pid_timers(5)).</summary>
    internal static List<PosixTimerEntry> Parse(string text)
    {
        var timers = new List<PosixTimerEntry>();
        foreach (string line in text.Split('\n'))
        {
            int colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon < 0) continue;
            string value = line[(colon + 1)..].Trim();
            switch (line[..colon])
            {
                case "ID":
                    timers.Add(new PosixTimerEntry { ItId = uint.Parse(value, CultureInfo.InvariantCulture), Overrun = 0, Isec = 0, Insec = 0, Vsec = 0, Vnsec = 0 });
                    break;
                case "signal":
                    int slash = value.IndexOf('/', StringComparison.Ordinal);
                    timers[^1].SiSigno = uint.Parse(value[..slash], CultureInfo.InvariantCulture);
                    timers[^1].SivalPtr = ulong.Parse(value[(slash + 1)..], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                    break;
                case "notify":
                    Notify(timers[^1], value);
                    break;
                case "ClockID":
                    timers[^1].ClockId = unchecked((uint)int.Parse(value, CultureInfo.InvariantCulture));
                    break;
            }
        }

        return timers;
    }

    // "signal/pid.4711", "none/pid.4711", "thread/tid.4712"
    private static void Notify(PosixTimerEntry timer, string value)
    {
        int slash = value.IndexOf('/', StringComparison.Ordinal), dot = value.LastIndexOf('.');
        string how = value[..slash], whom = value[(slash + 1)..dot];
        timer.ItSigevNotify = (how switch { "signal" => SIGEV_SIGNAL, "none" => SIGEV_NONE, _ => 2u }) | (whom == "tid" ? SIGEV_THREAD_ID : 0u);
        if (whom == "tid") timer.NotifyThreadId = int.Parse(value[(dot + 1)..], CultureInfo.InvariantCulture);
    }

    private static int CreateByCounting(RemoteCalls calls, PosixTimerEntry timer, RestoreThread thread, int next)
    {
        for (; next < MaxStepsToId; next++)
        {
            bool last = next == timer.ItId;
            RemoteAddress id = Create(calls, timer, thread, 0);
            int made = calls.RunAndKeep().At<int>(id);
            calls.Batch.Clear();
            next = made;
            if (made == timer.ItId) return made + 1;
            if (last || made > timer.ItId) break;
            calls.Must("timer_delete", SyscallNumber.timer_delete, made);
        }

        throw new CheckpointException(ErrorCode.KernelFeature, $"POSIX timer {timer.ItId} cannot get its number back")
        {
            Pid = thread.Process.Pid,
            Remedy = "A kernel from 6.15 on can give it",
        };
    }

    private static RemoteAddress Create(RemoteCalls calls, PosixTimerEntry timer, RestoreThread thread, int wantedId)
    {
        calls.Room(160);
        var sigevent = new Sigevent
        {
            Value = timer.SivalPtr,
            Signal = (int)timer.SiSigno,
            Notify = (int)timer.ItSigevNotify,
            ThreadId = timer.HasNotifyThreadId ? timer.NotifyThreadId : thread.Process.Pid,
        };
        RemoteAddress id = calls.Batch.Data(wantedId);
        calls.Must("timer_create", SyscallNumber.timer_create, (int)timer.ClockId, calls.Batch.Data(sigevent), id);
        return id;
    }

    /// <summary>struct itimerspec.</summary>
    private struct Itimerspec
    {
        public ulong IntervalSeconds, IntervalNanoseconds, ValueSeconds, ValueNanoseconds;
    }

    /// <summary>struct sigevent (sigevent(7)).</summary>
    [StructLayout(LayoutKind.Sequential, Size = 64)]
    private struct Sigevent
    {
        public ulong Value;
        public int Signal, Notify, ThreadId;
    }
}
