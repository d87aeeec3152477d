using System.Globalization;

namespace CriuPmem.Kernel;

/// <summary>/proc/PID of one task, held open: a pid that is used again never answers for the old one.</summary>
internal sealed class ProcDirectory : IDisposable
{
    [ThreadStatic]
    private static byte[]? s_buffer;

    private readonly OwnedFd _directory;

    private ProcDirectory(int pid, OwnedFd directory)
    {
        Pid = pid;
        _directory = directory;
    }

    /// <summary>The task's id.</summary>
    public int Pid { get; }

    /// <summary>A descriptor of /proc/PID.</summary>
    public int Fd => _directory.Fd;

    /// <summary>Opens /proc/PID; null when there is no such task.</summary>
    public static ProcDirectory? TryOpen(int pid)
    {
        SysResult fd = Sys.OpenAt(AT_FDCWD, string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}"), O_PATH | O_DIRECTORY);
        return fd.Failed ? null : new ProcDirectory(pid, new OwnedFd(fd.Value));
    }

    /// <summary>True when there is a process or thread with that number.</summary>
    public static bool Exists(int pid) => Syscall.Quick(SyscallNumber.getpgid, pid).Errno != Errno.ESRCH;

    /// <summary>Reads a file of it whole. The bytes are valid until the same thread reads the next.</summary>
    /// <returns>The contents; empty when the task is gone or the file cannot be read.</returns>
    public ReadOnlySpan<byte> Read(ReadOnlySpan<char> name) => Read(name, out _);

    private ReadOnlySpan<byte> Read(ReadOnlySpan<char> name, out bool failed)
    {
        byte[] buffer = s_buffer ?? new byte[64 * 1024];
        SysResult length = Sys.ReadFile(Fd, name, ref buffer);
        s_buffer = buffer;
        failed = length.Failed;
        return failed ? default : buffer.AsSpan(0, length.Value);
    }

    /// <summary>Reads a small text file without its newline; null when it cannot be read.</summary>
    public string? ReadText(ReadOnlySpan<char> name)
    {
        ReadOnlySpan<byte> text = Read(name, out bool failed);
        return failed ? null : LinuxText.Decode(text).TrimEnd('\n');
    }

    /// <summary>The target of a link of it, or null.</summary>
    public string? ReadLink(ReadOnlySpan<char> name) => Sys.ReadLink(Fd, name, out _);

    /// <summary>/proc/PID/stat; null when the task is gone.</summary>
    public ProcStat? Stat() => ProcStat.TryParse(Read("stat"), out ProcStat? stat) ? stat : null;

    /// <summary>/proc/PID/status; null when the task is gone.</summary>
    public ProcStatus? Status() => ProcStatus.TryParse(Read("status"), out ProcStatus? status) ? status : null;

    /// <summary>The numbers that name entries of a subdirectory (task, fd), in ascending order.</summary>
    public List<int> Numbers(string subdirectory)
    {
        var numbers = new List<int>();
        SysResult fd = Sys.OpenAt(Fd, subdirectory, O_RDONLY | O_DIRECTORY);
        if (fd.Failed) return numbers;
        Sys.ForEachEntry(fd.Value, name =>
        {
            if (int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int number)) numbers.Add(number);
        });
        Sys.Close(fd.Value);
        numbers.Sort();
        return numbers;
    }

    /// <summary>The children of one thread of it (/proc/PID/task/TID/children).</summary>
    public List<int> Children(int tid)
    {
        var children = new List<int>();
        ReadOnlySpan<byte> text = Read($"task/{tid}/children");
        foreach (Range part in text.Split((byte)' '))
        {
            if (System.Buffers.Text.Utf8Parser.TryParse(text[part], out int pid, out _)) children.Add(pid);
        }

        return children;
    }

    /// <inheritdoc />
    public void Dispose() => _directory.Dispose();
}
