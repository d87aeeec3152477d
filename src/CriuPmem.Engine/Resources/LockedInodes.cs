using System.Buffers.Text;

namespace CriuPmem.Engine.Resources;

/// <summary>The inodes on which anybody has a lock or a lease, as /proc/locks tells.</summary>
/// <remarks>
/// Reading it takes about 15 ms, in which the kernel waits for all CPUs: worth it in place of some thousand fdinfo files.
/// <code>1: FLOCK  ADVISORY  WRITE 4711 00:1b:39794 0 EOF      (a waiting one has "->" before its kind)</code>
/// </remarks>
internal sealed class LockedInodes
{
    private readonly HashSet<ulong> _inodes = [];

    /// <summary>Reads the list; null when it cannot be read whole.</summary>
    public static LockedInodes? TryRead()
    {
        byte[] buffer = new byte[64 * 1024];
        SysResult length = Sys.ReadFile(AT_FDCWD, "/proc/locks", ref buffer);
        return length.Failed ? null : TryParse(buffer.AsSpan(0, length.Value));
    }

    /// <summary>Parses it; null when it is not of the known shape.</summary>
    public static LockedInodes? TryParse(ReadOnlySpan<byte> text)
    {
        var locked = new LockedInodes();
        foreach (Range range in text.Split((byte)'\n'))
        {
            ReadOnlySpan<byte> line = text[range];
            if (line.IsEmpty) continue;
            // Devices differ from stat's on some file systems; numbers that happen to be equal cost a look, and no more.
            int second = line.LastIndexOf((byte)':');
            if (second < 0 || !Utf8Parser.TryParse(line[(second + 1)..], out ulong inode, out int used) || used == 0) return null;
            locked._inodes.Add(inode);
        }

        return locked;
    }

    /// <summary>True when a lock is on an inode of that number.</summary>
    public bool Contains(ulong inode) => _inodes.Contains(inode);
}
