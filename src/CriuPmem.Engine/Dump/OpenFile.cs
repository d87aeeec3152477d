using System.Globalization;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Dump;

/// <summary>An open file description of the tree, seen through one descriptor of one process.</summary>
internal sealed class OpenFile : IDisposable
{
    private readonly Dictionary<string, string> _info = [];
    private OwnedFd? _copy;

    private OpenFile(DumpProcess process, int fd, string link, in FileStat stat)
    {
        Process = process;
        Fd = fd;
        Link = link;
        Stat = stat;
    }

    /// <summary>The process through which it is seen.</summary>
    public DumpProcess Process { get; }

    /// <summary>The descriptor's number there.</summary>
    public int Fd { get; }

    /// <summary>What /proc/PID/fd/N points at.</summary>
    public string Link { get; }

    /// <summary>Its inode.</summary>
    public FileStat Stat { get; }

    /// <summary>The offset (lseek(2)).</summary>
    public ulong Position { get; private set; }

    /// <summary>Status flags and access mode, without O_CLOEXEC, which belongs to the descriptor.</summary>
    public uint Flags { get; private set; }

    /// <summary>The descriptor's own flag.</summary>
    public bool CloseOnExec { get; private set; }

    /// <summary>The id in the images, once known.</summary>
    public uint Id { get; set; }

    /// <summary>"fd 9 → anon_inode:[io_uring]", for messages.</summary>
    public override string ToString() => $"fd {Fd} → {Link}";

    /// <summary>Lines of fdinfo that are not the common ones, joined by newlines as they stand there.</summary>
    public string Info { get; private set; } = "";

    /// <summary>Looks at a descriptor of a frozen process; null when it is not open.</summary>
    public static OpenFile? TryLook(DumpProcess process, int fd)
    {
        string path = string.Create(CultureInfo.InvariantCulture, $"fd/{fd}");
        string? link = process.Proc.ReadLink(path);
        if (link is null || Sys.Stat(process.Proc.Fd, path, out FileStat stat).Failed) return null;
        var file = new OpenFile(process, fd, link, stat);
        file.ReadInfo();
        return file;
    }

    /// <summary>Reads fdinfo, anew if it was read before.</summary>
    public void ReadInfo()
    {
        Info = Process.Proc.ReadText(string.Create(CultureInfo.InvariantCulture, $"fdinfo/{Fd}")) ?? "";
        _info.Clear();
        foreach (string line in Info.Split('\n'))
        {
            int colon = line.IndexOf(':');
            if (colon > 0) _info.TryAdd(line[..colon], line[(colon + 1)..].Trim());
        }

        Position = ulong.TryParse(Field("pos"), NumberStyles.None, CultureInfo.InvariantCulture, out ulong position) ? position : 0;
        uint flags = Convert.ToUInt32(Field("flags") ?? "0", 8);
        CloseOnExec = (flags & O_CLOEXEC) != 0;
        Flags = flags & ~(uint)O_CLOEXEC;
    }

    /// <summary>A field of fdinfo, without its name; null when it is not there.</summary>
    public string? Field(string name) => _info.GetValueOrDefault(name);

    /// <summary>A field of fdinfo that the kernel shows for files of its kind.</summary>
    public string Required(string name) =>
        Field(name) ?? throw Fail(ErrorCode.KernelFeature, $"the kernel does not tell its state ({name} in /proc/PID/fdinfo)");

    /// <summary>A copy of the descriptor in the engine's own table (pidfd_getfd(2)): the same open file description.</summary>
    public int Copy()
    {
        if (_copy is not null) return _copy.Fd;
        _copy = new OwnedFd((int)Process.CopyOf(Fd).OrThrow("pidfd_getfd", $"{Process}, {this}"));
        return _copy.Fd;
    }

    /// <summary>Who is told of events (F_SETOWN, F_SETSIG), for the image.</summary>
    public unsafe FownEntry Owner()
    {
        var entry = new FownEntry { Uid = 0, Euid = 0, Signum = 0, PidType = 0, Pid = 0 };
        if ((Flags & O_PATH) != 0) return entry;
        int fd = Copy();
        int* owner = stackalloc int[2]; // struct f_owner_ex: type, pid
        if (Sys.Fcntl(fd, F_GETOWN_EX, (long)owner).Failed || owner[1] == 0) return entry;
        uint* uids = stackalloc uint[2];
        Sys.Fcntl(fd, F_GETOWNER_UIDS, (long)uids).OrThrow("fcntl(F_GETOWNER_UIDS)", ToString());
        entry.Uid = uids[0];
        entry.Euid = uids[1];
        entry.Signum = (uint)Sys.Fcntl(fd, F_GETSIG).Value;
        // F_OWNER_TID 0, F_OWNER_PID 1, F_OWNER_PGRP 2; the image has the kernel's pid types: PID 0, TGID 1, PGID 2.
        entry.PidType = (uint)owner[0];
        entry.Pid = (uint)owner[1];
        return entry;
    }

    /// <summary>An exception about this file.</summary>
    public CheckpointException Fail(ErrorCode code, string cause, string? remedy = null, Errno errno = Errno.None) =>
        Process.Fail(code, cause, remedy, ToString(), errno);

    /// <inheritdoc />
    public void Dispose() => _copy?.Dispose();
}
