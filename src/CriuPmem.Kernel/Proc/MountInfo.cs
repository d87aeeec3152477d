using System.Globalization;
using System.Text;

namespace CriuPmem.Kernel;

/// <summary>One mount of the engine's own namespace (/proc/self/mountinfo, proc_pid_mountinfo(5)).</summary>
/// <param name="Id">Its number.</param>
/// <param name="MountPoint">Where it is mounted.</param>
/// <param name="FileSystem">ext4, xfs, tmpfs, ….</param>
/// <param name="Source">What is mounted: a device, or any name.</param>
/// <param name="Options">Options of the mount and of the file system, with commas between them.</param>
internal sealed record MountInfo(int Id, string MountPoint, string FileSystem, string Source, string Options)
{
    /// <summary>The mount that an open file or directory is in; null when that cannot be told.</summary>
    public static MountInfo? Of(int fd)
    {
        var buffer = new byte[4096];
        if (Sys.ReadFile(AT_FDCWD, string.Create(CultureInfo.InvariantCulture, $"/proc/self/fdinfo/{fd}"), ref buffer) is not { Failed: false } told) return null;
        string? line = LinuxText.Decode(buffer.AsSpan(0, told.Value)).Split('\n').FirstOrDefault(static line => line.StartsWith("mnt_id:", StringComparison.Ordinal));
        if (line is null || !int.TryParse(line.AsSpan(7).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out int id)) return null;
        SysResult read = Sys.ReadFile(AT_FDCWD, "/proc/self/mountinfo", ref buffer);
        return read.Failed ? null : Parse(LinuxText.Decode(buffer.AsSpan(0, read.Value))).FirstOrDefault(mount => mount.Id == id);
    }

    /// <summary>Reads all lines; those of another shape are passed over.</summary>
    public static IEnumerable<MountInfo> Parse(string text)
    {
        foreach (string line in text.Split('\n'))
        {
            string[] words = line.Split(' ');
            int dash = Array.IndexOf(words, "-"); // behind any number of optional fields
            if (dash < 6 || words.Length < dash + 4 || !int.TryParse(words[0], NumberStyles.None, CultureInfo.InvariantCulture, out int id)) continue;
            yield return new MountInfo(id, Unescape(words[4]), words[dash + 1], Unescape(words[dash + 2]), $"{words[5]},{words[dash + 3]}");
        }
    }

    /// <summary>Spaces and the like are written as backslash and three octal digits.</summary>
    private static string Unescape(string word)
    {
        var text = new StringBuilder(word.Length);
        for (int i = 0; i < word.Length; i++)
        {
            bool isOctal = word[i] == '\\' && i + 3 < word.Length && word.AsSpan(i + 1, 3).IndexOfAnyExceptInRange('0', '7') < 0;
            text.Append(isOctal ? (char)((word[i + 1] - '0') * 64 + (word[i + 2] - '0') * 8 + (word[i + 3] - '0')) : word[i]);
            if (isOctal) i += 3;
        }

        return text.ToString();
    }
}
