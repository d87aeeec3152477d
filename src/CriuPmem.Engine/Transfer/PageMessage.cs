using System.Buffers.Binary;
using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>The header of a message about pages.</summary>
/// <remarks>
/// <code>
///  0        2        4                 8                16                24               32
///  | command | flags  | (anything)     | pages           | address         | target          |
/// </code>
/// Little endian; flags are those of a page map entry. Bytes 4 to 7 are padding, in which the peer sends whatever was there.
/// </remarks>
/// <param name="Command">What is asked for; a number that no command has is possible.</param>
/// <param name="Flags">Where the pages are.</param>
/// <param name="Pages">How many.</param>
/// <param name="Address">The first one's address, or offset in a shared object.</param>
/// <param name="Target">Which object: see <see cref="PageTarget"/>; in <see cref="PageCommand.Get"/> and its answers the bare pid.</param>
internal readonly record struct PageMessage(PageCommand Command, PageFlags Flags, ulong Pages, ulong Address, ulong Target)
{
    /// <summary>Its length, in bytes.</summary>
    public const int Size = 32;

    /// <summary>The highest address behind any page of a process, in bytes (47 bits).</summary>
    public const ulong HighestEnd = 1UL << 47;

    /// <summary>The pages' length in bytes; only of a message that <see cref="IsSane"/>.</summary>
    public ulong LengthBytes => Pages * PageSize;

    /// <summary>The address behind the last page; only of a message that <see cref="IsSane"/>.</summary>
    public ulong End => Address + LengthBytes;

    /// <summary>True when it is about whole pages at an address that memory or files can have.</summary>
    public bool IsSane => Address % PageSize == 0 && Pages > 0 && Address < HighestEnd && Pages <= (HighestEnd - Address) / PageSize;

    /// <summary>Contents follow the header.</summary>
    public bool HasContents => (Flags & PageFlags.Present) != 0;

    /// <summary>Reads a header of <see cref="Size"/> bytes; any bytes are one.</summary>
    public static PageMessage Read(ReadOnlySpan<byte> from) => new(
        (PageCommand)BinaryPrimitives.ReadUInt16LittleEndian(from),
        (PageFlags)BinaryPrimitives.ReadUInt16LittleEndian(from[2..]),
        BinaryPrimitives.ReadUInt64LittleEndian(from[8..]),
        BinaryPrimitives.ReadUInt64LittleEndian(from[16..]),
        BinaryPrimitives.ReadUInt64LittleEndian(from[24..]));

    /// <summary>Writes the header.</summary>
    public void Write(Span<byte> to)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(to, (ushort)Command);
        BinaryPrimitives.WriteUInt16LittleEndian(to[2..], (ushort)Flags);
        BinaryPrimitives.WriteUInt32LittleEndian(to[4..], 0);
        BinaryPrimitives.WriteUInt64LittleEndian(to[8..], Pages);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], Address);
        BinaryPrimitives.WriteUInt64LittleEndian(to[24..], Target);
    }

    /// <summary>What is said of it in a complaint.</summary>
    public override string ToString() => $"command {(ushort)Command}, flags {(uint)Flags:x}, {Pages} pages at 0x{Address:x} of 0x{Target:x}";
}
