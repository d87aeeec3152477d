using System.Runtime.InteropServices;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Settings of a terminal: modes, size, locks (ioctl_tty(2)).</summary>
internal static class TerminalSettings
{
    private const int WordsOfPeer = 19;

    /// <summary>Reads them.</summary>
    /// <param name="fd">The terminal.</param>
    /// <param name="info">Filled in.</param>
    /// <param name="what">For messages.</param>
    public static void Dump(int fd, TtyInfoEntry info, string what)
    {
        Termios modes = default, locked = default;
        Sys.Ioctl(fd, TCGETS, ref modes).OrThrow("ioctl(TCGETS)", what);
        Sys.Ioctl(fd, TIOCGLCKTRMIOS, ref locked).OrThrow("ioctl(TIOCGLCKTRMIOS)", what);
        (ushort Rows, ushort Columns, ushort X, ushort Y) size = default;
        Sys.Ioctl(fd, TIOCGWINSZ, ref size).OrThrow("ioctl(TIOCGWINSZ)", what);
        int exclusive = 0;
        Sys.Ioctl(fd, TIOCGEXCL, ref exclusive);
        info.Exclusive = exclusive != 0;
        info.Termios = Entry(modes);
        info.TermiosLocked = Entry(locked);
        info.Winsize = new WinsizeEntry { WsRow = size.Rows, WsCol = size.Columns, WsXpixel = size.X, WsYpixel = size.Y };
    }

    /// <summary>Sets the modes; what is locked for good comes with <see cref="Lock"/>.</summary>
    public static void RestoreModes(int fd, TtyInfoEntry info, string what)
    {
        if (info.Termios is null) return;
        Termios modes = Modes(info.Termios);
        Sys.Ioctl(fd, TCSETS, ref modes).OrThrow("ioctl(TCSETS)", what);
    }

    /// <summary>Sets the size.</summary>
    public static void RestoreSize(int fd, TtyInfoEntry info, string what)
    {
        if (info.Winsize is not { } size) return;
        var value = ((ushort)size.WsRow, (ushort)size.WsCol, (ushort)size.WsXpixel, (ushort)size.WsYpixel);
        Sys.Ioctl(fd, TIOCSWINSZ, ref value).OrThrow("ioctl(TIOCSWINSZ)", what);
    }

    /// <summary>Locks modes (TIOCSLCKTRMIOS) and the terminal (TIOCEXCL): nothing can be changed or opened afterwards.</summary>
    public static void Lock(int fd, TtyInfoEntry info, string what)
    {
        if (info.TermiosLocked is { } entry && (entry.CIflag | entry.COflag | entry.CCflag | entry.CLflag) != 0)
        {
            Termios locked = Modes(entry);
            Sys.Ioctl(fd, TIOCSLCKTRMIOS, ref locked).OrThrow("ioctl(TIOCSLCKTRMIOS)", what);
        }

        if (info.Exclusive) Sys.Ioctl(fd, TIOCEXCL).OrThrow("ioctl(TIOCEXCL)", what);
    }

    private static TermiosEntry Entry(in Termios modes)
    {
        var entry = new TermiosEntry
        {
            CIflag = modes.c_iflag,
            COflag = modes.c_oflag,
            CCflag = modes.c_cflag,
            CLflag = modes.c_lflag,
            CLine = modes.c_line,
            CIspeed = 0,
            COspeed = 0, // the peer writes none: the speed is in c_cflag
        };
        Span<uint> words = stackalloc uint[WordsOfPeer];
        words.Clear();
        ((ReadOnlySpan<byte>)modes.c_cc).CopyTo(MemoryMarshal.AsBytes(words));
        foreach (uint word in words) entry.CCc.Add(word);
        return entry;
    }

    private static Termios Modes(TermiosEntry entry)
    {
        var modes = new Termios
        {
            c_iflag = entry.CIflag,
            c_oflag = entry.COflag,
            c_cflag = entry.CCflag,
            c_lflag = entry.CLflag,
            c_line = (byte)entry.CLine,
        };
        Span<byte> characters = modes.c_cc;
        for (int i = 0; i < characters.Length && i / 4 < entry.CCc.Count; i++) characters[i] = (byte)(entry.CCc[i / 4] >> (i % 4 * 8));
        return modes;
    }
}
