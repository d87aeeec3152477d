using System.Runtime.InteropServices;

namespace CriuPmem.Images;

/// <summary>A snapshot as one stream (--stream, docs/images.md).</summary>
/// <remarks>
/// <code>
/// head    | file record | name | contents | checksum | … | end record | checksum
/// </code>
/// Names are those of images, none twice. The end mark says how many files there were: a stream without it was cut.
/// </remarks>
internal static class StreamFormat
{
    /// <summary>The second word of the head; the first is <see cref="ImageKind.CommonMagic"/>.</summary>
    public const uint Magic = 0x4D525453;

    /// <summary>The third; the fourth is 0.</summary>
    public const uint Version = 1;

    /// <summary>The length of the head.</summary>
    public const int HeadBytes = 16;

    /// <summary>A file follows.</summary>
    public const uint File = 1;

    /// <summary>Nothing follows.</summary>
    public const uint End = 2;

    /// <summary>The longest name.</summary>
    public const int MaxNameBytes = 64;

    /// <summary>What begins a file, and the end. XXH3 of it, the name and the contents follows behind them.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Record
    {
        /// <summary><see cref="File"/> or <see cref="End"/>.</summary>
        public uint Type;

        /// <summary>The length of the name.</summary>
        public uint NameBytes;

        /// <summary>The length of the contents; at the end the number of files.</summary>
        public ulong LengthBytes;
    }
}
