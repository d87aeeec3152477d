using System.Globalization;
using System.Text;

namespace CriuPmem.Kernel;

/// <summary>/proc/meminfo.</summary>
internal static class MemoryInfo
{
    /// <summary>MemAvailable: memory that can be had without swapping, in bytes; 0 when it is not told.</summary>
    public static long AvailableBytes()
    {
        var buffer = new byte[4096];
        SysResult read = Sys.ReadFile(Constants.AT_FDCWD, "/proc/meminfo", ref buffer);
        return read.Failed ? 0 : Parse(Encoding.ASCII.GetString(buffer, 0, read.Value));
    }

    /// <summary>The same from its text.</summary>
    internal static long Parse(string text)
    {
        const string key = "MemAvailable:";
        int at = text.IndexOf(key, StringComparison.Ordinal);
        if (at < 0) return 0;
        ReadOnlySpan<char> rest = text.AsSpan(at + key.Length).TrimStart();
        int end = rest.IndexOf(' ');
        return end > 0 && long.TryParse(rest[..end], NumberStyles.None, CultureInfo.InvariantCulture, out long kib) ? kib << 10 : 0;
    }
}
