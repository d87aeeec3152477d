using CriuPmem.Engine.Resources;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.Engine.Dump;

/// <summary>The terminals of the tree: tty-info.img and tty-data.img.</summary>
internal sealed class TerminalTable(DumpContext context) : IDisposable
{
    private readonly Dictionary<uint, TtyInfoEntry> _terminals = [];
    private readonly Dictionary<uint, OwnedFd> _masters = []; // index → a copy of the master
    private readonly List<TtyDataEntry> _data = [];

    /// <summary>The terminal with an id, if it is known already.</summary>
    public bool Contains(uint id) => _terminals.ContainsKey(id);

    /// <summary>The id of a terminal that is left outside.</summary>
    /// <param name="rdev">Its device, as the images have it.</param>
    public uint ExternalId(uint rdev)
    {
        for (uint id = TerminalIds.FirstExternal; ; id += 2)
        {
            if (!_terminals.TryGetValue(id, out TtyInfoEntry? known) || (known.Type == TtyType.ExtTty && known.Rdev == rdev)) return id;
        }
    }

    /// <summary>Takes a terminal up.</summary>
    public void Add(TtyInfoEntry terminal)
    {
        if (_terminals.Count == 0)
        {
            context.WhenFilesAreKnown.Add(Complete);
            context.Contents.Add(Write);
        }

        _terminals.Add(terminal.Id, terminal);
    }

    /// <summary>Keeps a copy of a master until the dump ends.</summary>
    public void AddMaster(uint index, int fd) => _masters[index] = new OwnedFd((int)Sys.Fcntl(fd, F_DUPFD_CLOEXEC).OrThrow("fcntl(F_DUPFD)", "a terminal"));

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (OwnedFd master in _masters.Values) master.Dispose();
    }

    /// <summary>Now that all descriptors are known: session, foreground group, and what is unread.</summary>
    private void Complete()
    {
        foreach (TtyInfoEntry terminal in _terminals.Values)
        {
            if (terminal.Type == TtyType.ExtTty) FindSession(terminal);
            if (terminal.Type == TtyType.Ctty || terminal.Pty is null) continue;
            uint index = terminal.Pty.Index;
            if (!_masters.TryGetValue(index, out OwnedFd? master))
            {
                CheckOutside(terminal, index);
                continue;
            }

            int session = 0, group = 0;
            if (!Sys.Ioctl(master.Fd, TIOCGSID, ref session).Failed) terminal.Sid = (uint)session;
            if (terminal.Sid != 0 && !Sys.Ioctl(master.Fd, TIOCGPGRP, ref group).Failed) terminal.Pgrp = (uint)group;
            if (terminal.Id == TerminalIds.Master(index)) SaveQueues(terminal, index, master.Fd);
        }
    }

    private void SaveQueues(TtyInfoEntry terminal, uint index, int master)
    {
        if (!_terminals.ContainsKey(TerminalIds.Slave(index)))
        {
            terminal.HungUp = (Sys.Poll(master, (short)POLLIN, 0) & POLLHUP) != 0;
            int waiting = 0;
            if (!Sys.Ioctl(master, SIOCINQ, ref waiting).Failed && waiting != 0)
            {
                throw new CheckpointException(ErrorCode.InFlight, $"it has {waiting} unread bytes of programs that have closed it")
                {
                    Object = $"terminal /dev/pts/{index}",
                    Remedy = "Try again when the program has read them",
                };
            }

            return;
        }

        SysResult opened = Sys.Ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        if (opened.Failed) return; // locked: nobody can have written
        using var slave = new OwnedFd(opened.Value);
        byte[] output = TerminalQueue.PeekOutput(master, slave.Fd, terminal.PacketMode);
        byte[] input = TerminalQueue.PeekInput(master, slave.Fd, terminal.PacketMode);
        if (output.Length != 0) _data.Add(new TtyDataEntry { TtyId = TerminalIds.Master(index), Data = ByteString.CopyFrom(output) });
        if (input.Length != 0) _data.Add(new TtyDataEntry { TtyId = TerminalIds.Slave(index), Data = ByteString.CopyFrom(input) });
    }

    /// <summary>A terminal whose window is outside of the tree: that of the shell (--shell-job).</summary>
    private void CheckOutside(TtyInfoEntry terminal, uint index)
    {
        FindSession(terminal);
        if (context.Options.ShellJob) return;
        throw new CheckpointException(ErrorCode.OutsideTree, "its other end is outside of the tree")
        {
            Object = $"terminal /dev/pts/{index}",
            Remedy = $"Add --shell-job for a program started from a shell, or --external '{Terminal.KeyOf(terminal)}' for one whose terminal is given anew at restore",
        };
    }

    /// <summary>The session that it controls, told by a process of that: from outside of it the slave tells nothing.</summary>
    private void FindSession(TtyInfoEntry terminal)
    {
        foreach (DumpProcess process in context.Tree.Processes)
        {
            // tty_nr has the old form of device numbers; field 8 of stat is the foreground group.
            if (process.Stat.TtyNumber != (int)terminal.Rdev) continue;
            terminal.Sid = (uint)process.Stat.SessionId;
            terminal.Pgrp = (uint)Math.Max(process.Stat.TerminalGroupId, 0);
            break;
        }
    }

    private void Write()
    {
        using (ImageWriter image = context.Snapshot.Create(ImageKind.TtyInfo))
        {
            foreach (TtyInfoEntry terminal in _terminals.Values) image.Add(terminal);
        }

        if (_data.Count == 0) return;
        using ImageWriter data = context.Snapshot.Create(ImageKind.TtyData);
        foreach (TtyDataEntry entry in _data) data.Add(entry);
    }
}
