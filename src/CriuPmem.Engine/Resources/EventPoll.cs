using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>epoll sets (epoll(7)): which open files they watch, under which numbers, for what.</summary>
/// <remarks>
/// A registration is a pair of an open file and a number. The number may belong to another file by now, or to none, while
/// the file lives on elsewhere: then the file's id goes into the image (EpollTargets).
/// </remarks>
internal sealed class EventPoll : FileKind
{
    private const uint EPIOCSPARAMS = 0x40088A01, EPIOCGPARAMS = 0x80088A02;

    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Eventpoll;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) => file.Link == "anon_inode:[eventpoll]";

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        entry.Epfd = new EventpollFileEntry { Id = file.Id, Flags = file.Flags, Fown = file.Owner() };
        ulong busyPoll = 0;
        if (!Sys.Ioctl(file.Copy(), EPIOCGPARAMS, ref busyPoll).Failed && busyPoll != 0) entry.Epfd.BusyPoll = busyPoll;
        foreach (ReadOnlySpan<char> line in file.Info.AsSpan().EnumerateLines())
        {
            if (line.StartsWith("tfd:")) entry.Epfd.Tfd.Add(Parse(line));
        }

        if (entry.Epfd.Tfd.Count > 0) context.WhenFilesAreKnown.Add(() => new EpollTargets(context, file, entry.Epfd).Identify());
    }

    /// <inheritdoc />
    public override int Restore(RestoreContext context, FileEntry entry)
    {
        EventpollFileEntry set = entry.Epfd;
        int fd = (int)Syscall.Invoke(SyscallNumber.epoll_create1, O_CLOEXEC).OrThrow("epoll_create1", $"epoll set {set.Id}");
        if ((set.Flags & O_NONBLOCK) != 0) SetStatusFlags(fd, set.Flags, $"epoll set {set.Id}");
        ulong busyPoll = set.BusyPoll;
        if (busyPoll != 0) Sys.Ioctl(fd, EPIOCSPARAMS, ref busyPoll).OrThrow("ioctl(EPIOCSPARAMS)", $"epoll set {set.Id}");
        context.RestoreOwner(fd, set.Fown, set.Flags);
        context.Registrations.Add(entry);
        return fd;
    }

    /// <summary>"tfd:       14 events:     201b data: deadbeef00000077  pos:0 ino:12 sdev:10".</summary>
    internal static EventpollTfdEntry Parse(ReadOnlySpan<char> line)
    {
        return new EventpollTfdEntry
        {
            Id = 0,
            Tfd = uint.Parse(After(line, "tfd:"), CultureInfo.InvariantCulture),
            Events = uint.Parse(After(line, "events:"), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture),
            Data = ulong.Parse(After(line, "data:"), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture),
            Pos = ulong.Parse(After(line, "pos:"), CultureInfo.InvariantCulture),
            Inode = ulong.Parse(After(line, "ino:"), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture),
            Dev = uint.Parse(After(line, "sdev:"), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture),
        };
    }

    private static ReadOnlySpan<char> After(ReadOnlySpan<char> line, string name)
    {
        ReadOnlySpan<char> rest = line[(line.IndexOf(name, StringComparison.Ordinal) + name.Length)..].TrimStart();
        int end = rest.IndexOf(' ');
        return end < 0 ? rest : rest[..end];
    }
}
