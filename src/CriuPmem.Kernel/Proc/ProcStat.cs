using System.Buffers.Text;

namespace CriuPmem.Kernel;

/// <summary>/proc/PID/stat (proc_pid_stat(5)), the fields that the engine uses.</summary>
internal sealed record ProcStat
{
    /// <summary>The task's name.</summary>
    public required string Comm { get; init; }

    /// <summary>R, S, D, T, t, Z, X, I.</summary>
    public required char State { get; init; }

    public int ParentPid { get; init; }
    public int GroupId { get; init; }
    public int SessionId { get; init; }
    public int TtyNumber { get; init; }
    public int TerminalGroupId { get; init; }

    /// <summary>PF_… flags of the kernel.</summary>
    public uint Flags { get; init; }

    public long Nice { get; init; }
    public ulong StartTimeTicks { get; init; }
    public ulong StartCode { get; init; }
    public ulong EndCode { get; init; }
    public ulong StartStack { get; init; }
    public ulong StartData { get; init; }
    public ulong EndData { get; init; }
    public ulong StartBrk { get; init; }
    public ulong ArgStart { get; init; }
    public ulong ArgEnd { get; init; }
    public ulong EnvStart { get; init; }
    public ulong EnvEnd { get; init; }

    /// <summary>The wait status of a zombie.</summary>
    public int ExitCode { get; init; }

    /// <summary>True for a kernel thread (PF_KTHREAD).</summary>
    public bool IsKernelThread => (Flags & 0x0020_0000) != 0;

    /// <summary>True for a task that is on its way out (PF_EXITING): it runs no more of the program's code.</summary>
    public bool IsExiting => (Flags & 0x4) != 0;

    /// <summary>True for a thread that io_uring(7) made for requests that have to wait (PF_IO_WORKER): it never runs the program's code.</summary>
    public bool IsIoWorker => (Flags & 0x10) != 0;

    /// <summary>Parses; false when the text is not a whole stat line.</summary>
    public static bool TryParse(ReadOnlySpan<byte> text, out ProcStat? stat)
    {
        stat = null;
        // The name may contain anything, brackets and newlines too: it ends at the last bracket.
        int open = text.IndexOf((byte)'('), close = text.LastIndexOf((byte)')');
        if (open < 0 || close < open || close + 2 >= text.Length) return false;
        Span<long> field = stackalloc long[53];
        field.Clear();
        char state = (char)text[close + 2];
        ReadOnlySpan<byte> rest = text[(close + 3)..];
        int last = 3;
        while (last < 52)
        {
            rest = rest.TrimStart((byte)' ');
            if (Utf8Parser.TryParse(rest, out long number, out int used)) field[++last] = number;
            else if (Utf8Parser.TryParse(rest, out ulong large, out used)) field[++last] = (long)large;
            else break;
            rest = rest[used..];
        }

        if (last < 52) return false;
        stat = new ProcStat
        {
            Comm = LinuxText.Decode(text[(open + 1)..close]),
            State = state,
            ParentPid = (int)field[4],
            GroupId = (int)field[5],
            SessionId = (int)field[6],
            TtyNumber = (int)field[7],
            TerminalGroupId = (int)field[8],
            Flags = (uint)field[9],
            Nice = field[19],
            StartTimeTicks = (ulong)field[22],
            StartCode = (ulong)field[26],
            EndCode = (ulong)field[27],
            StartStack = (ulong)field[28],
            StartData = (ulong)field[45],
            EndData = (ulong)field[46],
            StartBrk = (ulong)field[47],
            ArgStart = (ulong)field[48],
            ArgEnd = (ulong)field[49],
            EnvStart = (ulong)field[50],
            EnvEnd = (ulong)field[51],
            ExitCode = (int)field[52],
        };
        return true;
    }
}
