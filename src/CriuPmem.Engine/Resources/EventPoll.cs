using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>epoll sets (epoll(7)): which open files they watch, under which numbers, for what.</summary>
/// <remarks>
/// A registration is a pair of an open file and a number. The number may belong to another file by now, or to none, while
/// the file lives on elsewhere: kcmp(2) with KCMP_EPOLL_TFD tells, and then the file's id goes into the image.
/// </remarks>
internal sealed unsafe class EventPoll : FileKind
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

        if (entry.Epfd.Tfd.Count > 0) context.WhenFilesAreKnown.Add(() => Identify(context, file, entry.Epfd));
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
    private static EventpollTfdEntry Parse(ReadOnlySpan<char> line)
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

    /// <summary>Finds the open file of each registration, and refuses one whose file is in no descriptor of the tree.</summary>
    private static void Identify(DumpContext context, OpenFile set, EventpollFileEntry entry)
    {
        var seen = new Dictionary<uint, uint>(entry.Tfd.Count);
        foreach (EventpollTfdEntry target in entry.Tfd)
        {
            seen[target.Tfd] = seen.TryGetValue(target.Tfd, out uint earlier) ? earlier + 1 : 0;
            KnownDescriptor? now = context.Files.Find(set.Process, (int)target.Tfd);
            IReadOnlyList<KnownDescriptor> candidates = context.Files.WithInode(target.Dev, target.Inode);
            bool fits = now is not null && now.Device == target.Dev && now.Inode == target.Inode;
            if (fits && IsTarget(set, target, seen[target.Tfd], now!)) continue;
            KnownDescriptor found = candidates.FirstOrDefault(other => IsTarget(set, target, seen[target.Tfd], other)) ?? throw set.Fail(
                ErrorCode.UnsupportedFile,
                $"it watches a file under the number {target.Tfd}, which the process has closed, while the file is open outside the tree only",
                "Let the program remove it from the set (EPOLL_CTL_DEL) before it closes the descriptor");
            target.FileId = found.Id;
            if (context.Files.Entries[(int)found.Id - 1].Type == FdTypes.Signalfd)
            {
                throw set.Fail(
                    ErrorCode.UnsupportedFile, $"it watches a signal descriptor under the number {target.Tfd}, which is another's now",
                    "Let the program remove it from the set (EPOLL_CTL_DEL) before it closes the descriptor");
            }
        }
    }

    /// <summary>True when the registration is of the open file of a descriptor.</summary>
    /// <param name="set">The set.</param>
    /// <param name="target">The registration.</param>
    /// <param name="earlier">Registrations under the same number before it.</param>
    /// <param name="descriptor">The descriptor.</param>
    private static bool IsTarget(OpenFile set, EventpollTfdEntry target, uint earlier, KnownDescriptor descriptor)
    {
        uint* slot = stackalloc uint[3] { (uint)set.Fd, target.Tfd, earlier }; // struct kcmp_epoll_slot
        SysResult order = Sys.Kcmp(descriptor.Process.Pid, set.Process.Pid, KCMP_EPOLL_TFD, descriptor.Fd, (long)slot);
        return order.OrThrow("kcmp(KCMP_EPOLL_TFD)", $"{set.Process}, {set}") == 0;
    }
}
