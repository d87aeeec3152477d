using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Timer descriptors (timerfd_create(2)): clock, time left, interval, unread expirations.</summary>
/// <remarks>
/// A relative timer goes on with the time that it had left. An absolute one expires when its clock says so, unless that
/// clock has started anew (a reboot): then it, too, keeps the time that it had left.
/// </remarks>
internal sealed unsafe class TimerFd : FileKind
{
    private const int TFD_TIMER_ABSTIME = 1;
    private const uint TFD_IOC_SET_TICKS = 0x40085400;
    private const int CLOCK_REALTIME = 0, CLOCK_REALTIME_ALARM = 8, CLOCK_BOOTTIME_ALARM = 9;
    private const ulong NanosecondsPerSecond = 1_000_000_000;

    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Timerfd;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) => file.Link == "anon_inode:[timerfd]";

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        TimerfdEntry timer = Read(file);
        bool periodic = timer.Isec != 0 || timer.Insec != 0;
        if (periodic && timer.Ticks != 0 && timer.Vsec == 0 && timer.Vnsec == 0)
        {
            // The kernel counts a periodic timer's expirations only when it is looked at: timerfd_gettime(2) does that.
            ulong* setting = stackalloc ulong[4];
            Syscall.Invoke(SyscallNumber.timerfd_gettime, file.Copy(), (long)setting).OrThrow("timerfd_gettime", file.ToString());
            file.ForgetInfo();
            timer = Read(file);
        }

        ulong left = timer.Vsec * NanosecondsPerSecond + timer.Vnsec;
        if ((timer.SettimeFlags & TFD_TIMER_ABSTIME) != 0 && left != 0)
        {
            TimensEntry clocks = Clocks.Dump(file.Process);
            timer.ExpiresNs = left + Source(timer.Clockid) switch
            {
                Sys.CLOCK_MONOTONIC => Nanoseconds(clocks.Monotonic),
                Sys.CLOCK_BOOTTIME => Nanoseconds(clocks.Boottime),
                _ => Now(timer.Clockid),
            };
        }

        entry.Tfd = timer;
    }

    /// <inheritdoc />
    public override int Restore(RestoreContext context, FileEntry entry)
    {
        TimerfdEntry timer = entry.Tfd;
        string what = $"timer descriptor {timer.Id}";
        int fd = (int)Syscall.Invoke(SyscallNumber.timerfd_create, timer.Clockid, O_CLOEXEC | timer.Flags & O_NONBLOCK).OrThrow("timerfd_create", what);
        context.RestoreOwner(fd, timer.Fown, timer.Flags);
        // Not earlier: the time that the restore takes is not the program's.
        context.WhenTasksAreEquipped.Add(() => Arm(context, fd, timer, what));
        return fd;
    }

    private static void Arm(RestoreContext context, int fd, TimerfdEntry timer, string what)
    {
        ulong value = timer.Vsec * NanosecondsPerSecond + timer.Vnsec, interval = timer.Isec * NanosecondsPerSecond + timer.Insec;
        // Other engines' images show a periodic timer that has expired as one without time left.
        if (value == 0 && timer.Ticks != 0) value = interval;
        if (value != 0 && (timer.SettimeFlags & TFD_TIMER_ABSTIME) != 0) value = Deadline(context, timer, value);
        ulong* setting = stackalloc ulong[4]
        {
            interval / NanosecondsPerSecond, interval % NanosecondsPerSecond, value / NanosecondsPerSecond, value % NanosecondsPerSecond,
        };
        Syscall.Invoke(SyscallNumber.timerfd_settime, fd, timer.SettimeFlags, (long)setting, 0).OrThrow("timerfd_settime", what);
        ulong ticks = timer.Ticks;
        if (ticks != 0) Sys.Ioctl(fd, TFD_IOC_SET_TICKS, ref ticks).OrThrow("ioctl(TFD_IOC_SET_TICKS)", what);
    }

    /// <summary>When an absolute timer expires, on the engine's clock.</summary>
    private static ulong Deadline(RestoreContext context, TimerfdEntry timer, ulong left)
    {
        ulong now = Now(timer.Clockid);
        if (!timer.HasExpiresNs) return now + left;
        // The tree's clocks go on from where they were if the engine's are behind (see Clocks).
        ulong saved = Source(timer.Clockid) switch
        {
            Sys.CLOCK_MONOTONIC => Nanoseconds(context.Contents.TimeNs?.Monotonic),
            Sys.CLOCK_BOOTTIME => Nanoseconds(context.Contents.TimeNs?.Boottime),
            _ => 0,
        };
        ulong trees = Math.Max(now, saved);
        return timer.ExpiresNs > trees ? now + (timer.ExpiresNs - trees) : now;
    }

    private static ulong Now(uint clock)
    {
        (ulong seconds, ulong nanoseconds) = Sys.Clock(Source(clock));
        return seconds * NanosecondsPerSecond + nanoseconds;
    }

    /// <summary>The clock that a timer's clock goes by.</summary>
    private static int Source(uint clock) => clock switch
    {
        CLOCK_REALTIME_ALARM => CLOCK_REALTIME,
        CLOCK_BOOTTIME_ALARM => Sys.CLOCK_BOOTTIME,
        _ => (int)clock,
    };

    private static ulong Nanoseconds(Timespec? time) => time is null ? 0 : time.TvSec * NanosecondsPerSecond + time.TvNsec;

    private static TimerfdEntry Read(OpenFile file)
    {
        (ulong valueSeconds, ulong valueNanoseconds) = Pair(file.Required("it_value"));
        (ulong intervalSeconds, ulong intervalNanoseconds) = Pair(file.Required("it_interval"));
        return new TimerfdEntry
        {
            Id = file.Id,
            Flags = file.Flags,
            Fown = file.Owner(),
            Clockid = uint.Parse(file.Required("clockid"), CultureInfo.InvariantCulture),
            Ticks = ulong.Parse(file.Required("ticks"), CultureInfo.InvariantCulture),
            SettimeFlags = Convert.ToUInt32(file.Required("settime flags"), 8),
            Vsec = valueSeconds,
            Vnsec = valueNanoseconds,
            Isec = intervalSeconds,
            Insec = intervalNanoseconds,
        };
    }

    /// <summary>"(4999, 863546667)".</summary>
    private static (ulong Seconds, ulong Nanoseconds) Pair(string text)
    {
        int comma = text.IndexOf(',');
        return (ulong.Parse(text.AsSpan(1, comma - 1), CultureInfo.InvariantCulture), ulong.Parse(text.AsSpan()[(comma + 2)..^1], CultureInfo.InvariantCulture));
    }
}
