using System.Buffers.Text;
using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>Parses /proc/PID/maps and /proc/PID/smaps, which are the same but for what follows each line.</summary>
internal static class SmapsParser
{
    [ThreadStatic]
    private static byte[]? s_buffer;

    private static readonly Dictionary<ushort, VmFlags> s_codes = new()
    {
        [Code("mw")] = VmFlags.MayWrite,
        [Code("gd")] = VmFlags.GrowsDown,
        [Code("pf")] = VmFlags.PfnMap,
        [Code("lo")] = VmFlags.Locked,
        [Code("io")] = VmFlags.Io,
        [Code("sr")] = VmFlags.SequentialRead,
        [Code("rr")] = VmFlags.RandomRead,
        [Code("dc")] = VmFlags.DontCopy,
        [Code("de")] = VmFlags.DontExpand,
        [Code("ac")] = VmFlags.Account,
        [Code("nr")] = VmFlags.NoReserve,
        [Code("ht")] = VmFlags.HugeTlb,
        [Code("wf")] = VmFlags.WipeOnFork,
        [Code("dd")] = VmFlags.DontDump,
        [Code("hg")] = VmFlags.HugePage,
        [Code("nh")] = VmFlags.NoHugePage,
        [Code("mg")] = VmFlags.Mergeable,
        [Code("ss")] = VmFlags.ShadowStack,
        [Code("um")] = VmFlags.UffdMissing,
        [Code("uw")] = VmFlags.UffdWriteProtect,
        [Code("lf")] = VmFlags.LockOnFault,
        [Code("sf")] = VmFlags.Synchronous,
        [Code("mm")] = VmFlags.MixedMap,
        [Code("ui")] = VmFlags.UffdMinor,
        [Code("sl")] = VmFlags.Sealed,
        [Code("dp")] = VmFlags.Droppable,
        [Code("gu")] = VmFlags.Guard,
    };

    /// <summary>Reads and parses a file piece by piece: with many mappings it has tens of megabytes.</summary>
    /// <param name="process">/proc/PID.</param>
    /// <param name="name">"smaps" or "maps".</param>
    /// <param name="mappings">Where the mappings go, in address order.</param>
    /// <param name="mostMappings">Give up when there are more.</param>
    /// <returns>False when it cannot be read, or is not of the known shape.</returns>
    public static bool TryRead(ProcDirectory process, string name, List<MemoryMapping> mappings, int mostMappings = int.MaxValue)
    {
        SysResult opened = Sys.OpenAt(process.Fd, name, O_RDONLY);
        if (opened.Failed) return false;
        using var file = new OwnedFd(opened.Value);
        byte[] buffer = s_buffer ??= new byte[128 * 1024];
        for (int used = 0; ;)
        {
            if (used == buffer.Length || mappings.Count > mostMappings) return false; // no line is as long as the buffer
            SysResult read = Sys.Read(file.Fd, buffer.AsSpan(used));
            if (read.Failed) return false;
            if (read.Value == 0) return TryParse(buffer.AsSpan(0, used), mappings);
            used += read.Value;
            int complete = buffer.AsSpan(0, used).LastIndexOf((byte)'\n') + 1;
            if (!TryParse(buffer.AsSpan(0, complete), mappings)) return false;
            buffer.AsSpan(complete..used).CopyTo(buffer);
            used -= complete;
        }
    }

    /// <summary>Parses a whole file; false at the first line that is not of the known shape.</summary>
    public static bool TryParse(ReadOnlySpan<byte> text, List<MemoryMapping> mappings)
    {
        while (!text.IsEmpty)
        {
            int end = text.IndexOf((byte)'\n');
            ReadOnlySpan<byte> line = end < 0 ? text : text[..end];
            text = end < 0 ? default : text[(end + 1)..];
            if (line.IsEmpty) continue;
            if (line[0] is >= (byte)'A' and <= (byte)'Z')
            {
                if (mappings.Count > 0) Detail(line, ref CollectionsMarshal.AsSpan(mappings)[^1]);
            }
            else
            {
                if (!TryParseLine(line, out MemoryMapping mapping)) return false;
                mappings.Add(mapping);
            }
        }

        return true;
    }

    /// <summary>Parses <c>start-end perms offset major:minor inode   name</c>.</summary>
    public static bool TryParseLine(ReadOnlySpan<byte> line, out MemoryMapping mapping)
    {
        mapping = new MemoryMapping { Name = "" };
        if (!Hex(ref line, '-', out mapping.Start) || !Hex(ref line, ' ', out mapping.End) || line.Length < 5) return false;
        mapping.Protection = (line[0] == 'r' ? 1 : 0) | (line[1] == 'w' ? 2 : 0) | (line[2] == 'x' ? 4 : 0);
        mapping.Shared = line[3] == 's';
        line = line[5..];
        if (!Hex(ref line, ' ', out mapping.Offset) || !Hex(ref line, ':', out ulong major) || !Hex(ref line, ' ', out ulong minor)) return false;
        mapping.DeviceMajor = (uint)major;
        mapping.DeviceMinor = (uint)minor;
        if (!Utf8Parser.TryParse(line, out mapping.Inode, out int used)) return false;
        line = line[used..].TrimStart((byte)' ');
        mapping.Name = line.IsEmpty ? "" : Unescape(line);
        return mapping.Start < mapping.End;
    }

    private static void Detail(ReadOnlySpan<byte> line, ref MemoryMapping mapping)
    {
        if (line.StartsWith("VmFlags:"u8)) mapping.Flags = ParseFlags(line[8..]);
        else if (line.StartsWith("Shared_Clean:"u8) || line.StartsWith("Shared_Dirty:"u8)) mapping.MayShareCopies |= Kib(line[13..]) > 0;
        else if (line.StartsWith("Anonymous:"u8)) mapping.MayShareCopies &= Kib(line[10..]) > 0; // comes after the others
    }

    private static ulong Kib(ReadOnlySpan<byte> text) =>
        Utf8Parser.TryParse(text.TrimStart((byte)' '), out ulong value, out _) ? value : 0;

    private static VmFlags ParseFlags(ReadOnlySpan<byte> text)
    {
        VmFlags flags = VmFlags.None;
        for (int i = 0; i + 1 < text.Length; i++)
        {
            if (text[i] == ' ') continue;
            if (s_codes.TryGetValue((ushort)(text[i] << 8 | text[i + 1]), out VmFlags flag)) flags |= flag;
            i++;
        }

        return flags;
    }

    private static ushort Code(string code) => (ushort)(code[0] << 8 | code[1]);

    private static bool Hex(ref ReadOnlySpan<byte> text, char end, out ulong value)
    {
        if (!Utf8Parser.TryParse(text, out value, out int used, 'x') || used >= text.Length || text[used] != end) return false;
        text = text[(used + 1)..];
        return true;
    }

    // The kernel writes a newline in a path as \012 and nothing else escaped.
    private static string Unescape(ReadOnlySpan<byte> name) => LinuxText.Decode(name).Replace("\\012", "\n", StringComparison.Ordinal);
}
