using System.Globalization;
using CriuPmem.Engine.Restore;

namespace CriuPmem.Engine.Dump;

/// <summary>What the user leaves outside of the snapshot (--external): at restore something else takes its place.</summary>
/// <remarks>
/// A key is a kind and an id: file[MNT_ID:INODE], tty[RDEV:DEV] (hexadecimal), unix[INODE] (decimal). Files among them are
/// saved by their key alone, whatever they are; terminals and sockets are asked about by their own kinds.
/// </remarks>
internal sealed class ExternalFiles(DumpContext context)
{
    private readonly HashSet<string> _keys = [.. context.Options.External.Select(InheritedFiles.Normalize)];
    private readonly HashSet<string> _used = [];

    /// <summary>True when the user named <paramref name="key"/>.</summary>
    public bool Has(string key)
    {
        bool named = _keys.Contains(key);
        if (named) _used.Add(key);
        return named;
    }

    /// <summary>True when the user named the file: its mount and inode.</summary>
    public bool Covers(OpenFile file) => _keys.Count > 0 && Has(KeyOf(file));

    /// <summary>The key of a file, as --external and --inherit-fd have it.</summary>
    public static string KeyOf(OpenFile file)
    {
        uint mount = uint.Parse(file.Required("mnt_id"), CultureInfo.InvariantCulture);
        return string.Create(CultureInfo.InvariantCulture, $"file[{mount:x}:{file.Stat.st_ino:x}]");
    }

    /// <summary>Tells of file keys that fitted nothing: most likely a number is wrong.</summary>
    public void WarnOfUnused()
    {
        foreach (string key in _keys.Where(key => key.StartsWith("file[", StringComparison.Ordinal) && !_used.Contains(key)))
        {
            context.Log.Warn("files", $"--external {key}: no process has it open (mnt_id and ino stand in /proc/PID/fdinfo/N; write them in hexadecimal)");
        }
    }
}
