using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Resources;

/// <summary>Makes the terminals of the images again, and gives sessions the terminals that control them.</summary>
/// <remarks>Every process of the tree must exist, with no descriptor but the transport: what a process receives lands at 0.</remarks>
internal sealed class TerminalMaker(RestoreContext context)
{
    private const int MostTerminals = 4096;
    private readonly Dictionary<uint, int> _masters = []; // index → descriptor, also of masters that nobody has open
    private readonly Dictionary<uint, TtyInfoEntry> _infos = context.Contents.TtyInfos.ToDictionary(info => info.Id);

    private IEnumerable<TtyFileEntry> FilesOf(TtyInfoEntry info) =>
        context.Files.OfType(FdTypes.Tty).Select(entry => entry.Tty).Where(file => file.TtyInfoId == info.Id && !context.Files.IsOpen(file.Id));

    private IEnumerable<TtyInfoEntry> Pairs => _infos.Values.Where(info => info.Pty is not null).OrderBy(info => info.Pty.Index);

    private IEnumerable<TtyInfoEntry> Externals => _infos.Values.Where(info =>
        info.Type == TtyType.ExtTty && context.Files.OfType(FdTypes.Tty).Any(entry => entry.Tty.TtyInfoId == info.Id));

    /// <summary>Terminals that are there by now, and can control a session.</summary>
    private IEnumerable<TtyInfoEntry> Made => [.. Pairs.Where(info => _masters.ContainsKey(info.Pty.Index)), .. Externals];

    /// <summary>Makes masters and slaves, before any process is born.</summary>
    public void Make()
    {
        foreach (TtyInfoEntry master in Pairs.Where(info => info.Id % 2 == 1)) MakeMaster(master);
        foreach (TtyInfoEntry slave in Pairs.Where(info => info.Id % 2 == 0))
        {
            if (_masters.TryGetValue(slave.Pty.Index, out int master)) MakeSlave(slave, master);
            else TakeOwn(slave);
        }

        foreach (TtyInfoEntry external in Externals) TakeGiven(external);
    }

    /// <summary>
    /// Gives a session that has just begun its terminal (TIOCSCTTY); before its leader has children, since they inherit it
    /// and cannot get it in another way.
    /// </summary>
    public void GiveTo(RestoreProcess leader)
    {
        TtyInfoEntry? info = Made.FirstOrDefault(info => info.Sid == leader.Pid);
        if (info is null || leader.IsZombie) return;
        WithSlave(leader, info, calls =>
        {
            int take = calls.Try(SyscallNumber.ioctl, 0, TIOCSCTTY, 0);
            SysResult taken = calls.RunAndKeep().Result(take);
            calls.Batch.Clear();
            if (!taken.Failed) return;
            throw leader.Fail(
                ErrorCode.NameTaken, $"the terminal that controlled its session cannot do so again ({taken.Errno.Describe()}): most likely it controls another session by now",
                info.Type == TtyType.ExtTty ? "Give a terminal that no session has: open it with O_NOCTTY, or outside of a session's leader" : null);
        });
    }

    /// <summary>Foreground groups, /dev/tty and locks, when all processes and groups are there.</summary>
    public void Complete()
    {
        var done = new HashSet<uint>();
        foreach (TtyInfoEntry info in Made.Where(info => info.Pgrp != 0))
        {
            RestoreProcess? leader = context.Processes.Find(process => process.Pid == info.Sid && !process.IsZombie);
            if (leader is null || !done.Add(info.Pty is { } pty ? pty.Index : ~info.Id)) continue; // without its leader a session has no terminal
            // The group may be empty now, as it may have been then.
            WithSlave(leader, info, calls => calls.Try(SyscallNumber.ioctl, 0, TIOCSPGRP, calls.Batch.Data((int)info.Pgrp)));
        }

        foreach (TtyInfoEntry controlling in _infos.Values.Where(info => info.Type == TtyType.Ctty)) OpenControlling(controlling);
        foreach (TtyInfoEntry info in Pairs) Finish(info);
    }

    private void WithSlave(RestoreProcess process, TtyInfoEntry info, Action<RemoteCalls> act)
    {
        int made = -1;
        TtyInfoEntry? slave = info.Type == TtyType.ExtTty ? info : _infos.GetValueOrDefault(TerminalIds.Slave(info.Pty.Index));
        int fd = slave is null ? -1 : FirstFile(slave);
        if (fd < 0) fd = made = OpenSlave(_masters[info.Pty.Index], O_RDWR, $"/dev/pts/{info.Pty.Index}");
        var calls = new RemoteCalls(process.Space, process.Leader.Task);
        context.Transport.Pass(calls, [fd]);
        act(calls);
        calls.Must("close", SyscallNumber.close, 0);
        calls.Flush();
        if (made >= 0) Sys.Close(made);
    }

    private void MakeMaster(TtyInfoEntry info)
    {
        foreach (TtyFileEntry file in FilesOf(info).ToArray())
        {
            string path = LinuxText.Decode(context.Files.Entry(file.RegfId).Reg.Name.Span);
            int fd = OpenIndex(path, (int)(file.Flags & ~(uint)(O_NOCTTY | FASYNC)), info.Pty.Index);
            _masters[info.Pty.Index] = fd;
            int off = 0;
            Sys.Ioctl(fd, TIOCSPTLCK, ref off).OrThrow("ioctl(TIOCSPTLCK)", path);
            TerminalSettings.RestoreSize(fd, info, path);
            context.RestoreOwner(fd, file.Fown, file.Flags);
            context.Files.Put(file.Id, fd);
        }
    }

    /// <summary>The kernel gives the lowest free number: the lower ones are held until the wanted one comes.</summary>
    private static int OpenIndex(string path, int flags, uint wanted)
    {
        var held = new List<int>();
        try
        {
            while (held.Count < MostTerminals)
            {
                int fd = (int)Sys.OpenAt(AT_FDCWD, path, flags | O_NOCTTY).OrThrow("open", path);
                uint index = 0;
                Sys.Ioctl(fd, TIOCGPTN, ref index).OrThrow("ioctl(TIOCGPTN)", path);
                if (index == wanted) return fd;
                held.Add(fd);
                if (index > wanted) break;
            }
        }
        finally
        {
            foreach (int fd in held) Sys.Close(fd);
        }

        throw new CheckpointException(ErrorCode.NameTaken, "the terminal's number is in use")
        {
            Object = $"/dev/pts/{wanted}",
            Remedy = "Close the terminal that has it now, or restore with a devpts of its own",
        };
    }

    private void MakeSlave(TtyInfoEntry info, int master)
    {
        string what = $"/dev/pts/{info.Pty.Index}";
        foreach (TtyFileEntry file in FilesOf(info).ToArray())
        {
            int fd = OpenSlave(master, (int)file.Flags, what);
            context.RestoreOwner(fd, file.Fown, file.Flags);
            context.Files.Put(file.Id, fd);
            RegFileEntry path = context.Files.Entry(file.RegfId).Reg;
            if (info.HasUid) Syscall.Invoke(SyscallNumber.fchown, fd, info.Uid, info.Gid).OrThrow("fchown", what);
            if (path.HasMode) Syscall.Invoke(SyscallNumber.fchmod, fd, path.Mode & 0xFFF).OrThrow("fchmod", what);
        }

        int any = FirstFile(info);
        if (any < 0) return;
        byte[] Data(uint id) => [.. context.Contents.TtyData.Where(data => data.TtyId == id).SelectMany(data => data.Data)];
        byte[] output = Data(TerminalIds.Master(info.Pty.Index)), input = Data(info.Id);
        TerminalSettings.RestoreModes(any, info, what);
        if (output.Length != 0) TerminalQueue.PutOutput(any, output);
        if (input.Length != 0) TerminalQueue.PutInput(master, any, input);
    }

    private static int OpenSlave(int master, int flags, string what) =>
        (int)Sys.Ioctl(master, TIOCGPTPEER, (flags & ~(O_CREAT | O_EXCL | FASYNC)) | O_NOCTTY | O_CLOEXEC).OrThrow("opening the slave", what);

    /// <summary>The engine's own terminal, in the place of the one from which the program was started (--shell-job).</summary>
    private void TakeOwn(TtyInfoEntry info)
    {
        string what = $"terminal /dev/pts/{info.Pty.Index}";
        TtyFileEntry[] files = [.. FilesOf(info)];
        if (files.Length == 0) return;
        Termios modes = default;
        int own = Enumerable.Range(0, 3).FirstOrDefault(fd => !Sys.Ioctl(fd, TCGETS, ref modes).Failed, -1);
        if (!context.Options.ShellJob || own < 0)
        {
            throw new CheckpointException(ErrorCode.OutsideTree, own < 0 ? "it was the shell's terminal, and here is none" : "it was a terminal outside of the tree")
            {
                Object = what,
                Remedy = own < 0 ? "Restore from a terminal" : "Add --shell-job",
            };
        }

        foreach (TtyFileEntry file in files)
        {
            int fd = (int)Sys.OpenAt(AT_FDCWD, $"/proc/thread-self/fd/{own}", (int)(file.Flags & ~(uint)FASYNC) | O_NOCTTY).OrThrow("open", what);
            context.RestoreOwner(fd, file.Fown, file.Flags);
            context.Files.Put(file.Id, fd);
        }

        TerminalSettings.RestoreModes(own, info, what);
        if (info.Pgrp != 0) context.AtCommit.Add(() => PutInFront(own, context.MapGroup((int)info.Pgrp)));
    }

    /// <summary>What the user gives in the place of a terminal that was left outside (--external, --inherit-fd).</summary>
    private void TakeGiven(TtyInfoEntry info)
    {
        string key = Terminal.KeyOf(info);
        foreach (TtyFileEntry file in FilesOf(info).ToArray())
        {
            int given = context.Files.Inherited.TryTake(key);
            if (given < 0)
            {
                throw new CheckpointException(ErrorCode.ExternalPeer, "this terminal was left outside of the snapshot (--external), and the restore was given none in its place")
                {
                    Object = key,
                    Remedy = $"Give it one: --inherit-fd 'fd[N]:{key}'",
                };
            }

            Termios modes = default;
            if (Sys.Ioctl(given, TCGETS, ref modes).Failed)
            {
                Sys.Close(given);
                throw new CheckpointException(ErrorCode.Usage, "what is given in its place is no terminal") { Object = key, Remedy = "Give a descriptor of a terminal" };
            }

            int fd = OpenAnew(given, (int)(file.Flags & ~(uint)FASYNC));
            context.RestoreOwner(fd, file.Fown, file.Flags);
            context.Files.Put(file.Id, fd);
            TerminalSettings.RestoreModes(fd, info, key);
        }
    }

    /// <summary>An open file of its own with the program's flags; of a terminal that cannot be opened again, the given one.</summary>
    private static int OpenAnew(int given, int flags)
    {
        SysResult opened = Sys.OpenAt(AT_FDCWD, $"/proc/thread-self/fd/{given}", flags | O_NOCTTY);
        if (opened.Failed) return given;
        Sys.Close(given);
        return opened.Value;
    }

    /// <summary>Puts a group in front of the terminal, as a shell does with a job, if it was this engine's to give.</summary>
    /// <remarks>At commit: the group must be there by then, and a restore that fails stays in front itself.</remarks>
    private static void PutInFront(int terminal, int group)
    {
        int front = 0;
        bool inFront = !Sys.Ioctl(terminal, TIOCGPGRP, ref front).Failed && front == Syscall.Quick(SyscallNumber.getpgrp).Value;
        if (inFront) Sys.Ioctl(terminal, TIOCSPGRP, ref group); // from behind it would stop the engine (SIGTTOU)
    }

    private int FirstFile(TtyInfoEntry info)
    {
        TtyFileEntry? file = context.Files.OfType(FdTypes.Tty).Select(entry => entry.Tty).FirstOrDefault(file => file.TtyInfoId == info.Id);
        return file is null ? -1 : context.Files.Open(file.Id);
    }

    /// <summary>/dev/tty, opened by a process that has the terminal.</summary>
    private void OpenControlling(TtyInfoEntry info)
    {
        foreach (TtyFileEntry file in FilesOf(info).ToArray())
        {
            RestoreProcess process = context.Processes.Find(other => !other.IsZombie && other.SessionId == context.MapSession((int)info.Sid)) ??
                throw new CheckpointException(ErrorCode.ImageUnsupported, "no process of its session is in the tree") { Object = "/dev/tty" };
            var calls = new RemoteCalls(process.Space, process.Leader.Task);
            RemoteAddress path = calls.Batch.Data("/dev/tty\0"u8);
            int call = calls.Must("opening /dev/tty", SyscallNumber.openat, AT_FDCWD, path, (int)(file.Flags & ~(uint)FASYNC) | O_CLOEXEC);
            int remote = calls.RunAndKeep().Result(call).Value;
            calls.Batch.Clear();
            using var pidfd = new OwnedFd((int)Sys.PidfdOpen(process.Pid).OrThrow("pidfd_open", process.ToString()));
            int fd = (int)Sys.PidfdGetFd(pidfd.Fd, remote).OrThrow("pidfd_getfd", process.ToString());
            calls.Must("close", SyscallNumber.close, remote);
            calls.Flush();
            context.RestoreOwner(fd, file.Fown, file.Flags);
            context.Files.Put(file.Id, fd);
        }
    }

    private void Finish(TtyInfoEntry info)
    {
        int fd = FirstFile(info);
        if (fd < 0 || !_masters.TryGetValue(info.Pty.Index, out int master)) return;
        string what = $"/dev/pts/{info.Pty.Index}";
        if (info.Id % 2 == 1)
        {
            if (info.HungUp) Sys.Close(OpenSlave(master, O_RDWR, what)); // the master learns that its last slave is closed
            if (info.Locked)
            {
                int on = 1;
                Sys.Ioctl(master, TIOCSPTLCK, ref on).OrThrow("ioctl(TIOCSPTLCK)", what);
            }

            if (info.PacketMode)
            {
                int on = 1;
                Sys.Ioctl(master, TIOCPKT, ref on).OrThrow("ioctl(TIOCPKT)", what);
            }
        }

        if (info.Id % 2 == 0 || !_infos.ContainsKey(TerminalIds.Slave(info.Pty.Index))) TerminalSettings.Lock(fd, info, what);
    }
}
