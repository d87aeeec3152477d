using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>struct termios of the kernel (ioctl_tty(2), TCGETS).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct Termios
{
    public uint c_iflag, c_oflag, c_cflag, c_lflag;
    public byte c_line;
    public ControlCharacters c_cc;

    /// <summary>The control characters.</summary>
    [InlineArray(19)]
    public struct ControlCharacters
    {
        private byte _first;
    }
}
