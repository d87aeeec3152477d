using System.Globalization;
using CriuPmem.Engine;
using CriuPmem.Images;

namespace CriuPmem.Cli.Options;

/// <summary>From the words of an option to its value. Each throws <see cref="FormatException"/> with a plain cause.</summary>
internal static class Values
{
    /// <summary>A flag: absent value means on.</summary>
    public static bool Flag(IReadOnlyList<string> words) => words.Count == 0 || words[0] != "false";

    /// <summary>Yes or no, as people write it; false for anything else.</summary>
    public static bool TryFlag(string word, out bool on)
    {
        on = word.ToUpperInvariant() is "YES" or "TRUE" or "1" or "ON";
        return on || word.ToUpperInvariant() is "NO" or "FALSE" or "0" or "OFF";
    }

    /// <summary>A text as it is.</summary>
    public static string? Text(IReadOnlyList<string> words) => words[^1];

    /// <summary>All texts as they are.</summary>
    public static string[] Texts(IReadOnlyList<string> words) => [.. words];

    /// <summary>A pid.</summary>
    public static int Pid(IReadOnlyList<string> words) =>
        TryWhole(words[^1], out long pid) && pid is >= 1 and <= int.MaxValue
            ? (int)pid
            : throw new FormatException($"'{words[^1]}' is not a pid (a whole number from 1)");

    /// <summary>A descriptor of this process.</summary>
    public static int[] Descriptors(IReadOnlyList<string> words) => [.. words.Select(Descriptor)];

    /// <summary>Inodes of sockets; "all" (no value) among them names none.</summary>
    public static string[] Inodes(IReadOnlyList<string> words) => [.. words.Where(word => word != "all").Select(word =>
        TryWhole(word, out _) ? word : throw new FormatException($"'{word}' is not an inode (a whole number, as in socket:[123])"))];

    /// <summary>A TCP port.</summary>
    public static int Port(IReadOnlyList<string> words) =>
        TryWhole(words[^1], out long port) && port is >= 0 and <= ushort.MaxValue
            ? (int)port
            : throw new FormatException($"'{words[^1]}' is not a port (a whole number up to 65535)");

    /// <summary>A number of seconds.</summary>
    public static int Seconds(IReadOnlyList<string> words) =>
        TryWhole(words[^1], out long seconds) && seconds is >= 0 and <= int.MaxValue
            ? (int)seconds
            : throw new FormatException($"'{words[^1]}' is not a number of seconds");

    /// <summary>A level of verbosity.</summary>
    public static int Level(IReadOnlyList<string> words) =>
        TryWhole(words[^1], out long level) && level is >= 0 and <= int.MaxValue
            ? (int)Math.Min(level, Kernel.EngineLog.LevelDebug)
            : throw new FormatException($"'{words[^1]}' is not a level: 0 (nothing) to 4 (everything)");

    /// <summary>A number of bytes, with K, M or G behind it for kibi-, mebi- and gibibytes.</summary>
    public static long Size(IReadOnlyList<string> words)
    {
        string word = words[^1];
        int shift = word.Length == 0 ? 0 : char.ToUpperInvariant(word[^1]) switch { 'K' => 10, 'M' => 20, 'G' => 30, _ => 0 };
        if (!TryWhole(shift == 0 ? word : word[..^1], out long size) || size < 0 || size > long.MaxValue >> shift)
        {
            throw new FormatException($"'{word}' is not a size (bytes, or with K, M or G behind: 512K, 64M)");
        }

        return size << shift;
    }

    /// <summary>How pages are compressed: METHOD or METHOD:LEVEL; "all" (no value) is the default.</summary>
    public static PageCompression? Compression(IReadOnlyList<string> words)
    {
        string word = words[^1];
        if (word == "all") return PageCompression.Default;
        int colon = word.IndexOf(':', StringComparison.Ordinal);
        PageCompressionMethod method = (colon < 0 ? word : word[..colon]) switch
        {
            "lz4" => PageCompressionMethod.Lz4,
            "zstd" => PageCompressionMethod.Zstd,
            _ => throw new FormatException($"'{word}' is not a way to compress: lz4 or zstd, with :LEVEL behind"),
        };
        if (colon < 0) return new PageCompression(method, PageCompression.DefaultLevel(method));
        return TryWhole(word[(colon + 1)..], out long level) && level >= 1 && level <= PageCompression.MaxLevel(method)
            ? new PageCompression(method, (int)level)
            : throw new FormatException($"'{word[(colon + 1)..]}' is not a level of {word[..colon]}: 1 to {PageCompression.MaxLevel(method)}");
    }

    /// <summary>What is compared before a file is opened again.</summary>
    public static FileValidation Validation(IReadOnlyList<string> words) => words[^1] switch
    {
        "buildid" => FileValidation.BuildId,
        "filesize" => FileValidation.FileSize,
        _ => throw new FormatException($"'{words[^1]}' is not a method: buildid or filesize"),
    };

    /// <summary>How a live snapshot is taken.</summary>
    public static LiveMode LiveMode(IReadOnlyList<string> words) => words[^1] switch
    {
        "auto" => Engine.LiveMode.Auto,
        "copy" => Engine.LiveMode.Copy,
        "twins" => Engine.LiveMode.Twins,
        _ => throw new FormatException($"'{words[^1]}' is not a mode: copy, twins or auto"),
    };

    /// <summary>How a pre-dump reads memory.</summary>
    public static string? PreDumpMode(IReadOnlyList<string> words) => words[^1] is "splice" or "read"
        ? words[^1]
        : throw new FormatException($"'{words[^1]}' is not a mode: splice or read");

    /// <summary>CPU capabilities: names with commas between; <c>^</c> before one takes it out.</summary>
    /// <remarks>A list that begins with <c>^</c> starts from the default, any other from nothing.</remarks>
    public static CpuCapability CpuCapabilities(IReadOnlyList<string> words)
    {
        const CpuCapability all = CpuCapability.Fpu | CpuCapability.Cpu | CpuCapability.Instructions;
        CpuCapability chosen = words[^1].StartsWith('^') ? CpuCapability.Default : CpuCapability.None;
        foreach (string word in words[^1].Split(','))
        {
            bool without = word.StartsWith('^');
            CpuCapability one = word.TrimStart('^') switch
            {
                "fpu" => CpuCapability.Fpu,
                "ins" => CpuCapability.Instructions,
                "cpu" => CpuCapability.Cpu,
                "all" => all,
                "none" when !without => CpuCapability.None,
                _ => throw new FormatException($"'{word}' is not a capability: fpu, ins, cpu, all or none, with ^ before one to leave it out"),
            };
            if (without) chosen &= ~one;
            else if (word == "none") chosen = CpuCapability.None;
            else chosen |= one;
        }

        return chosen;
    }

    private static int Descriptor(string word) =>
        TryWhole(word, out long fd) && fd is >= 0 and <= int.MaxValue
            ? (int)fd
            : throw new FormatException($"'{word}' is not a file descriptor (a whole number from 0)");

    /// <summary>A whole number in decimal digits alone: no sign, no blanks.</summary>
    internal static bool TryWhole(string word, out long value) =>
        long.TryParse(word, NumberStyles.None, CultureInfo.InvariantCulture, out value);
}
