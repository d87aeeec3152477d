using CriuPmem.Engine.Dump;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>The registry of kinds of open files.</summary>
internal static class FileKinds
{
    /// <summary>Every kind, in the order in which they are asked whether a file is theirs.</summary>
    public static IReadOnlyList<FileKind> All { get; } =
    [
        new RegularFile(),
        new UnixSocket(),
        new Terminal(),
        new InetSocket(),
        new NetlinkSocket(),
        new MemoryFile(),
        new Pipe(),
        new Fifo(),
        new EventFd(),
        new TimerFd(),
        new SignalFd(),
        new EventPoll(),
        new Inotify(),
    ];

    /// <summary>The kind of files that the user left outside of the snapshot.</summary>
    public static FileKind External => All[0];

    private static readonly FileKind?[] s_byType = ByType();

    /// <summary>The kind of an open file, or null when none knows it.</summary>
    public static FileKind? Of(OpenFile file)
    {
        foreach (FileKind kind in All)
        {
            if (kind.Matches(file)) return kind;
        }

        return null;
    }

    /// <summary>The kind of an entry of the images, or null.</summary>
    public static FileKind? Of(FdTypes type) => (uint)type < s_byType.Length ? s_byType[(int)type] : null;

    private static FileKind?[] ByType()
    {
        var table = new FileKind?[64];
        foreach (FileKind kind in All) table[(int)kind.Type] = kind;
        return table;
    }
}
