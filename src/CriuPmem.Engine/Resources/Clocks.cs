using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>The monotonic and boot clocks as the tree sees them (time_namespaces(7)).</summary>
/// <remarks>
/// They may jump forward over a restore, by the time that has passed, but never backward: where they would, after a
/// reboot or on another machine, the tree gets a time namespace in which they go on.
/// </remarks>
internal static class Clocks
{
    private const long NanosecondsPerSecond = 1_000_000_000;

    /// <summary>The clocks in the time namespace of <paramref name="process"/>.</summary>
    public static TimensEntry Dump(DumpProcess process)
    {
        (Int128 monotonic, Int128 boot) = (Now(Sys.CLOCK_MONOTONIC), Now(Sys.CLOCK_BOOTTIME));
        using ProcDirectory? self = ProcDirectory.TryOpen(Sys.GetPid());
        if (process.Proc.ReadLink("ns/time") != self?.ReadLink("ns/time"))
        {
            // "monotonic  -12  340000000": the offset from the first time namespace, which is the engine's.
            foreach (string line in (process.Proc.ReadText("timens_offsets") ?? "").Split('\n'))
            {
                string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                if (fields.Length != 3) continue;
                Int128 offset = Int128.Parse(fields[1], CultureInfo.InvariantCulture) * NanosecondsPerSecond + Int128.Parse(fields[2], CultureInfo.InvariantCulture);
                if (fields[0] == "monotonic") monotonic += offset;
                else if (fields[0] == "boottime") boot += offset;
            }
        }

        return new TimensEntry { Monotonic = Time(monotonic), Boottime = Time(boot) };
    }

    /// <summary>
    /// Prepares the calling thread, when a clock would run backward, so that the programs it starts live in a new time
    /// namespace (they enter it by execve).
    /// </summary>
    public static void Restore(RestoreContext context)
    {
        if (context.Contents.TimeNs is not { } saved) return;
        Int128 monotonic = Offset(saved.Monotonic, Sys.CLOCK_MONOTONIC), boot = Offset(saved.Boottime, Sys.CLOCK_BOOTTIME);
        if (monotonic == 0 && boot == 0) return;
        SysResult unshared = Syscall.Invoke(SyscallNumber.unshare, (long)CLONE_NEWTIME);
        if (unshared.Failed)
        {
            context.Log.Warn("clocks", $"no time namespace can be made ({unshared.Errno}): the monotonic clock of the restored programs runs backward");
            return;
        }

        string offsets = Line("monotonic", monotonic) + Line("boottime", boot);
        SysResult set = Sys.WriteFile(AT_FDCWD, string.Create(CultureInfo.InvariantCulture, $"/proc/{Syscall.Quick(SyscallNumber.gettid).Value}/timens_offsets"), offsets);
        if (set.Failed)
        {
            throw new CheckpointException(ErrorCode.ImageDamaged, $"the clocks cannot be set forward as saved (by {offsets.TrimEnd().Replace("\n", ", ", StringComparison.Ordinal)})")
            {
                Object = Images.ImageKind.TimeNs.FileName(),
                Errno = set.Errno,
                Remedy = "No clock can have shown that: restore from another snapshot",
            };
        }

        context.Log.Info("clocks", $"the tree is restored in a time namespace of its own, so that the monotonic clock goes on");
    }

    private static Int128 Offset(Timespec? saved, int clock)
    {
        if (saved is null) return 0;
        Int128 ahead = (Int128)saved.TvSec * NanosecondsPerSecond + saved.TvNsec - Now(clock);
        return ahead > 0 ? ahead : 0;
    }

    private static Int128 Now(int clock)
    {
        (ulong seconds, ulong nanoseconds) = Sys.Clock(clock);
        return (Int128)seconds * NanosecondsPerSecond + nanoseconds;
    }

    private static Timespec Time(Int128 nanoseconds) =>
        new() { TvSec = (ulong)(nanoseconds / NanosecondsPerSecond), TvNsec = (ulong)(nanoseconds % NanosecondsPerSecond) };

    private static string Line(string clock, Int128 offset) =>
        string.Create(CultureInfo.InvariantCulture, $"{clock} {offset / NanosecondsPerSecond} {offset % NanosecondsPerSecond}\n");
}
