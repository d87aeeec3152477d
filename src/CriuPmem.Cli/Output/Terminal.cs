using CriuPmem.Kernel;

namespace CriuPmem.Cli.Output;

/// <summary>What is known about a descriptor that may be a terminal. System.Console is not used: it would take over signals.</summary>
internal static unsafe class Terminal
{
    private const int TCGETS = 0x5401;
    private const int TIOCGWINSZ = 0x5413;

    /// <summary>True when the descriptor is a terminal.</summary>
    public static bool Is(int fd)
    {
        byte* termios = stackalloc byte[64];
        return !Syscall.Invoke(SyscallNumber.ioctl, fd, TCGETS, (long)termios).Failed;
    }

    /// <summary>Its width in columns; 80 when it does not tell.</summary>
    public static int Width(int fd)
    {
        ushort* size = stackalloc ushort[4];
        size[1] = 0;
        bool told = !Syscall.Invoke(SyscallNumber.ioctl, fd, TIOCGWINSZ, (long)size).Failed;
        return told && size[1] >= 20 ? size[1] : 80;
    }

    /// <summary>True when people on this terminal want colours (no-color.org).</summary>
    public static bool WantsColour(int fd) =>
        Is(fd) && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"))
        && Environment.GetEnvironmentVariable("TERM") is not (null or "" or "dumb");

    /// <summary>Writes text to a descriptor at once.</summary>
    public static void Write(int fd, string text) => Sys.WriteAll(fd, LinuxText.Encode(text));
}
