using System.Buffers.Text;

namespace CriuPmem.Kernel;

/// <summary>/proc/PID/status (proc_pid_status(5)), the fields that the engine uses.</summary>
internal sealed record ProcStatus
{
    public int TracerPid { get; private set; }

    /// <summary>Real, effective, saved and file system user id.</summary>
    public uint[] Uids { get; } = new uint[4];

    /// <summary>Real, effective, saved and file system group id.</summary>
    public uint[] Gids { get; } = new uint[4];

    public uint[] Groups { get; private set; } = [];

    /// <summary>The ids of the task in its pid namespaces, from ours down to its own.</summary>
    public int[] NamespacePids { get; private set; } = [];

    public ulong PendingThread { get; private set; }
    public ulong PendingProcess { get; private set; }
    public ulong Blocked { get; private set; }
    public ulong Ignored { get; private set; }
    public ulong Caught { get; private set; }
    public ulong CapInheritable { get; private set; }
    public ulong CapPermitted { get; private set; }
    public ulong CapEffective { get; private set; }
    public ulong CapBounding { get; private set; }
    public ulong CapAmbient { get; private set; }
    public bool NoNewPrivs { get; private set; }

    /// <summary>0 disabled, 1 strict, 2 filter.</summary>
    public int Seccomp { get; private set; }

    public int SeccompFilters { get; private set; }
    public uint Umask { get; private set; }

    /// <summary>False when PR_SET_THP_DISABLE is on; null when the kernel does not tell.</summary>
    public bool? ThpEnabled { get; private set; }

    /// <summary>True with a user shadow stack (CET).</summary>
    public bool ShadowStack { get; private set; }

    /// <summary>Anonymous memory that is present, in KiB.</summary>
    public ulong AnonymousKib { get; private set; }

    /// <summary>Memory that is present, whatever it is, in KiB.</summary>
    public ulong ResidentKib { get; private set; }

    /// <summary>Locked memory, in KiB.</summary>
    public ulong LockedKib { get; private set; }

    /// <summary>Parses; false when it is not a status file.</summary>
    public static bool TryParse(ReadOnlySpan<byte> text, out ProcStatus? status)
    {
        var parsed = new ProcStatus();
        bool any = false;
        while (!text.IsEmpty)
        {
            int end = text.IndexOf((byte)'\n');
            ReadOnlySpan<byte> line = end < 0 ? text : text[..end];
            text = end < 0 ? default : text[(end + 1)..];
            int colon = line.IndexOf((byte)':');
            if (colon < 0) continue;
            any |= parsed.Take(line[..colon], line[(colon + 1)..].Trim("\t "u8));
        }

        status = any ? parsed : null;
        return any;
    }

    private bool Take(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        if (name.SequenceEqual("TracerPid"u8)) TracerPid = (int)Decimal(value);
        else if (name.SequenceEqual("Uid"u8)) Four(value, Uids);
        else if (name.SequenceEqual("Gid"u8)) Four(value, Gids);
        else if (name.SequenceEqual("Groups"u8)) Groups = [.. Numbers(value).Select(n => (uint)n)];
        else if (name.SequenceEqual("NSpid"u8)) NamespacePids = [.. Numbers(value).Select(n => (int)n)];
        else if (name.SequenceEqual("SigPnd"u8)) PendingThread = Hex(value);
        else if (name.SequenceEqual("ShdPnd"u8)) PendingProcess = Hex(value);
        else if (name.SequenceEqual("SigBlk"u8)) Blocked = Hex(value);
        else if (name.SequenceEqual("SigIgn"u8)) Ignored = Hex(value);
        else if (name.SequenceEqual("SigCgt"u8)) Caught = Hex(value);
        else if (name.SequenceEqual("CapInh"u8)) CapInheritable = Hex(value);
        else if (name.SequenceEqual("CapPrm"u8)) CapPermitted = Hex(value);
        else if (name.SequenceEqual("CapEff"u8)) CapEffective = Hex(value);
        else if (name.SequenceEqual("CapBnd"u8)) CapBounding = Hex(value);
        else if (name.SequenceEqual("CapAmb"u8)) CapAmbient = Hex(value);
        else if (name.SequenceEqual("NoNewPrivs"u8)) NoNewPrivs = Decimal(value) != 0;
        else if (name.SequenceEqual("Seccomp"u8)) Seccomp = (int)Decimal(value);
        else if (name.SequenceEqual("Seccomp_filters"u8)) SeccompFilters = (int)Decimal(value);
        else if (name.SequenceEqual("Umask"u8)) Umask = Octal(value);
        else if (name.SequenceEqual("THP_enabled"u8)) ThpEnabled = Decimal(value) != 0;
        else if (name.SequenceEqual("x86_Thread_features"u8)) ShadowStack = value.IndexOf("shstk"u8) >= 0;
        else if (name.SequenceEqual("RssAnon"u8)) AnonymousKib = (ulong)Decimal(value);
        else if (name.SequenceEqual("VmRSS"u8)) ResidentKib = (ulong)Decimal(value);
        else if (name.SequenceEqual("VmLck"u8)) LockedKib = (ulong)Decimal(value);
        else return false;
        return true;
    }

    private static long Decimal(ReadOnlySpan<byte> value) => Utf8Parser.TryParse(value, out long number, out _) ? number : 0;

    private static ulong Hex(ReadOnlySpan<byte> value) => Utf8Parser.TryParse(value, out ulong number, out _, 'x') ? number : 0;

    private static uint Octal(ReadOnlySpan<byte> value)
    {
        uint number = 0;
        foreach (byte digit in value) number = number * 8 + (uint)(digit - '0');
        return number;
    }

    private static void Four(ReadOnlySpan<byte> value, uint[] target)
    {
        List<long> numbers = Numbers(value);
        for (int i = 0; i < 4 && i < numbers.Count; i++) target[i] = (uint)numbers[i];
    }

    private static List<long> Numbers(ReadOnlySpan<byte> value)
    {
        var numbers = new List<long>();
        foreach (Range part in value.SplitAny("\t "u8))
        {
            if (Utf8Parser.TryParse(value[part], out long number, out _)) numbers.Add(number);
        }

        return numbers;
    }
}
