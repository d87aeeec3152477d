using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Pseudoterminals, masters and slaves, and /dev/tty (pty(7), tty(4)).</summary>
/// <remarks>All are made again before the first process gets its descriptors (<see cref="TerminalMaker"/>): a slave needs its master, a session its terminal.</remarks>
internal sealed class Terminal : FileKind
{
    private const uint AlternateMajor = 5, ControllingMinor = 0, MultiplexerMinor = 2, FirstSlaveMajor = 136, LastSlaveMajor = 143;

    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Tty;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) => file.Stat.Type == S_IFCHR && (file.Flags & O_PATH) == 0 &&
        (file.Stat.DeviceMajor is >= FirstSlaveMajor and <= LastSlaveMajor ||
         (file.Stat.DeviceMajor == AlternateMajor && file.Stat.DeviceMinor is ControllingMinor or MultiplexerMinor));

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        int fd = file.Copy();
        bool isMaster = file.Stat.DeviceMajor == AlternateMajor && file.Stat.DeviceMinor == MultiplexerMinor;
        bool isSlave = file.Stat.DeviceMajor >= FirstSlaveMajor;
        uint index = file.Stat.DeviceMinor + (isSlave ? (file.Stat.DeviceMajor - FirstSlaveMajor) << 20 : 0);
        if (isMaster)
        {
            Sys.Ioctl(fd, TIOCGPTN, ref index).OrThrow("ioctl(TIOCGPTN)", file.ToString());
            context.Terminals.AddMaster(index, fd);
        }

        if (isSlave && context.External.Has(string.Create(CultureInfo.InvariantCulture, $"tty[{file.Stat.st_rdev:x}:{file.Stat.st_dev:x}]")))
        {
            DumpExternal(context, file, fd, entry);
            return;
        }

        uint id = isMaster ? TerminalIds.Master(index) : isSlave ? TerminalIds.Slave(index) : TerminalIds.Controlling;
        if (!context.Terminals.Contains(id)) context.Terminals.Add(Describe(file, fd, id, isMaster || isSlave ? index : null, isMaster, isMaster || isSlave ? TtyType.Pty : TtyType.Ctty));
        RegFileEntry path = context.Paths.Entry(file.Process, $"fd/{file.Fd}", file.Link, file.Stat, file.ToString());
        path.Flags = file.Flags;
        path.Pos = 0;
        entry.Tty = new TtyFileEntry
        {
            Id = file.Id,
            TtyInfoId = id,
            Flags = file.Flags,
            Fown = file.Owner(),
            RegfId = context.Files.AddPath(path),
        };
    }

    /// <inheritdoc />
    public override int Restore(RestoreContext context, FileEntry entry) =>
        throw new CheckpointException(ErrorCode.Internal, "a terminal was not made in time") { Object = $"file {entry.Id}" };

    /// <summary>How --external and --inherit-fd call a terminal that was left outside.</summary>
    public static string KeyOf(TtyInfoEntry info) => string.Create(CultureInfo.InvariantCulture, $"tty[{info.Rdev:x}:{info.Dev:x}]");

    /// <summary>Whose window stays outside: no path, and no number, since another takes its place.</summary>
    private static void DumpExternal(DumpContext context, OpenFile file, int fd, FileEntry entry)
    {
        uint id = context.Terminals.ExternalId(OldDevice(file));
        if (!context.Terminals.Contains(id)) context.Terminals.Add(Describe(file, fd, id, null, isMaster: false, TtyType.ExtTty));
        entry.Tty = new TtyFileEntry { Id = file.Id, TtyInfoId = id, Flags = file.Flags, Fown = file.Owner() };
    }

    private static uint OldDevice(OpenFile file) =>
        file.Stat.DeviceMajor << 8 | (file.Stat.DeviceMinor & 0xFF) | (file.Stat.DeviceMinor & 0xFFF00) << 12;

    private static TtyInfoEntry Describe(OpenFile file, int fd, uint id, uint? index, bool isMaster, TtyType type)
    {
        Termios modes = default;
        SysResult alive = Sys.Ioctl(fd, TCGETS, ref modes);
        if (alive.Errno == Errno.EIO)
        {
            throw file.Fail(ErrorCode.UnsupportedFile, "it is a terminal whose window was closed", "Let the program close it, or end the program");
        }

        var info = new TtyInfoEntry
        {
            Id = id,
            Type = type,
            Locked = false,
            Exclusive = false,
            PacketMode = false,
            Sid = 0,
            Pgrp = 0,
            Rdev = OldDevice(file),
            Dev = FileStat.KernelDevice(file.Stat.st_dev),
            Uid = file.Stat.st_uid,
            Gid = file.Stat.st_gid,
        };
        TerminalSettings.Dump(fd, info, file.ToString());
        if (index is { } number) info.Pty = new TtyPtyEntry { Index = number };
        if (type == TtyType.Ctty)
        {
            info.Sid = (uint)file.Process.Stat.SessionId;
            info.Pgrp = (uint)Math.Max(file.Process.Stat.TerminalGroupId, 0);
        }

        if (!isMaster) return info;
        int locked = 0, packets = 0;
        Sys.Ioctl(fd, TIOCGPTLCK, ref locked);
        Sys.Ioctl(fd, TIOCGPKT, ref packets);
        info.Locked = locked != 0;
        info.PacketMode = packets != 0;
        return info;
    }
}
