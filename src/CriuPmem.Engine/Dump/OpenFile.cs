using System.Globalization;
using CriuPmem.Engine.Resources;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Dump;

/// <summary>An open file description of the tree, seen through one descriptor of one process.</summary>
internal sealed class OpenFile : IDisposable
{
    private readonly (int Type, int Pid) _owner;
    private readonly uint _signal;
    private string? _link, _info;
    private Ahead<string>? _infoAhead;
    private OwnedFd? _copy;

    private OpenFile(in DescriptorFacts facts)
    {
        Process = facts.Process;
        Fd = facts.Fd;
        Stat = facts.Stat;
        Position = facts.Position;
        Flags = facts.Flags & ~(uint)O_CLOEXEC;
        CloseOnExec = facts.CloseOnExec;
        _owner = facts.Owner;
        _signal = facts.Signal;
    }

    /// <summary>The process through which it is seen.</summary>
    public DumpProcess Process { get; }

    /// <summary>The descriptor's number there.</summary>
    public int Fd { get; }

    /// <summary>What /proc/PID/fd/N points at.</summary>
    public string Link => _link ??= ReadLink();

    /// <summary>Its inode.</summary>
    public FileStat Stat { get; }

    /// <summary>The offset (lseek(2)).</summary>
    public ulong Position { get; }

    /// <summary>Status flags and access mode, without O_CLOEXEC, which belongs to the descriptor.</summary>
    public uint Flags { get; }

    /// <summary>The descriptor's own flag.</summary>
    public bool CloseOnExec { get; }

    /// <summary>The id in the images, once known.</summary>
    public uint Id { get; set; }

    /// <summary>"fd 9 → anon_inode:[io_uring]", for messages.</summary>
    public override string ToString() => $"fd {Fd} → {Link}";

    /// <summary>The lines of /proc/PID/fdinfo/N, as they stand there.</summary>
    public string Info => _info ??= _infoAhead?.Value ?? ReadInfo();

    /// <summary>The options of a socket, read ahead; null when they are not.</summary>
    public Ahead<SkOptsEntry>? OptionsAhead { get; private set; }

    /// <summary>True for the inode that all eventfds, timers, epoll sets and the like have in common.</summary>
    public bool IsAnonymous => Stat.Type == 0;

    /// <summary>The open file that a process told the facts of.</summary>
    public static OpenFile From(in DescriptorFacts facts) => new(facts);

    /// <summary>Forgets fdinfo, which changes for timers while nothing else does.</summary>
    public void ForgetInfo()
    {
        _infoAhead?.Drop();
        _infoAhead = null;
        _info = null;
    }

    /// <summary>Says what is to be read of it ahead; it is read by <see cref="Prepare"/>, on whatever thread.</summary>
    public void PlanAhead()
    {
        if (IsAnonymous) _infoAhead = new Ahead<string>(ReadInfo);
        else if (Stat.Type == S_IFSOCK && (Flags & O_PATH) == 0) OptionsAhead = new Ahead<SkOptsEntry>(ReadOptions);
    }

    /// <summary>Reads what was planned.</summary>
    public void Prepare()
    {
        _infoAhead?.Prepare();
        OptionsAhead?.Prepare();
    }

    /// <summary>A field of fdinfo, without its name; null when it is not there.</summary>
    public string? Field(string name)
    {
        foreach (ReadOnlySpan<char> line in Info.AsSpan().EnumerateLines())
        {
            if (line.Length > name.Length && line[name.Length] == ':' && line.StartsWith(name, StringComparison.Ordinal)) return line[(name.Length + 1)..].Trim().ToString();
        }

        return null;
    }

    /// <summary>A field of fdinfo that the kernel shows for files of its kind.</summary>
    public string Required(string name) =>
        Field(name) ?? throw Fail(ErrorCode.KernelFeature, $"the kernel does not tell its state ({name} in /proc/PID/fdinfo)");

    /// <summary>A copy of the descriptor in the engine's own table (pidfd_getfd(2)): the same open file description.</summary>
    public int Copy()
    {
        _copy ??= NewCopy();
        return _copy.Fd;
    }

    /// <summary>Who is told of events (F_SETOWN, F_SETSIG), for the image.</summary>
    public unsafe FownEntry Owner()
    {
        var entry = new FownEntry { Uid = 0, Euid = 0, Signum = _signal, PidType = 0, Pid = 0 };
        if (_owner.Pid == 0) return entry;
        uint* uids = stackalloc uint[2];
        Sys.Fcntl(Copy(), F_GETOWNER_UIDS, (long)uids).OrThrow("fcntl(F_GETOWNER_UIDS)", ToString());
        entry.Uid = uids[0];
        entry.Euid = uids[1];
        // F_OWNER_TID 0, F_OWNER_PID 1, F_OWNER_PGRP 2; the image has the kernel's pid types: PID 0, TGID 1, PGID 2.
        entry.PidType = (uint)_owner.Type;
        entry.Pid = (uint)_owner.Pid;
        return entry;
    }

    /// <summary>An exception about this file.</summary>
    public CheckpointException Fail(ErrorCode code, string cause, string? remedy = null, Errno errno = Errno.None) =>
        Process.Fail(code, cause, remedy, ToString(), errno);

    /// <inheritdoc />
    public void Dispose()
    {
        _infoAhead?.Drop();
        OptionsAhead?.Drop();
        _copy?.Dispose();
    }

    private OwnedFd NewCopy() => new((int)Process.CopyOf(Fd).OrThrow("pidfd_getfd", $"{Process}, {this}"));

    // With a copy of its own: those of all sockets at a time might be more than the engine may have open.
    private SkOptsEntry ReadOptions()
    {
        using OwnedFd copy = NewCopy();
        return SocketOptions.Read(this, copy.Fd);
    }

    private string ReadInfo() => Process.Proc.ReadText(string.Create(CultureInfo.InvariantCulture, $"fdinfo/{Fd}")) ?? "";

    // The kernel makes up the names of pipes and sockets from their inodes: so can we.
    private string ReadLink() => Stat.Type switch
    {
        S_IFIFO when Stat.st_dev == DescriptorScan.PipeDevice => string.Create(CultureInfo.InvariantCulture, $"pipe:[{Stat.st_ino}]"),
        0 when Info.Contains("\neventfd-count:", StringComparison.Ordinal) => "anon_inode:[eventfd]",
        S_IFSOCK when (Flags & O_PATH) == 0 => string.Create(CultureInfo.InvariantCulture, $"socket:[{Stat.st_ino}]"),
        _ => Process.Proc.ReadLink(string.Create(CultureInfo.InvariantCulture, $"fd/{Fd}")) ?? throw Process.Fail(ErrorCode.Vanished, "its name cannot be read", what: $"fd {Fd}"),
    };
}
