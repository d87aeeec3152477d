using System.Runtime.InteropServices;

namespace CriuPmem.Images;

/// <summary>A file of compressed pages, cpages-N.img (docs/images.md).</summary>
/// <remarks>
/// <code>
///  0      header, 64 bytes
///  64     blocks, each by itself, in any order: pages of one block size, compressed, or as they are when that gains nothing
///  index  one entry of 32 bytes for each block, in the order of the pages
/// </code>
/// Every block can be read alone. Its bytes are checked before a decoder sees them, and what comes out is checked again.
/// </remarks>
internal static class CompressedPagesFormat
{
    /// <summary>The word that tells the kind.</summary>
    public const uint Magic = 0x43504731;

    /// <summary>The length of the header.</summary>
    public const int HeaderBytes = 64;

    /// <summary>The length of an entry of the index.</summary>
    public const int EntryBytes = 32;

    /// <summary>The largest block that is read.</summary>
    public const uint MaxBlockBytes = 4 << 20;

    /// <summary>inventory_entry.img_version of a snapshot with such files: other engines refuse it.</summary>
    public const uint InventoryVersion = 1000;

    /// <summary>The header; all numbers little endian.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Header
    {
        /// <summary><see cref="ImageKind.CommonMagic"/>.</summary>
        public uint CommonMagic;

        /// <summary><see cref="CompressedPagesFormat.Magic"/>.</summary>
        public uint Magic;

        /// <summary><see cref="PageCompressionMethod"/>.</summary>
        public uint Method;

        /// <summary>Bytes of pages in each block but the last: a power of two, at least 4096.</summary>
        public uint BlockBytes;

        /// <summary>Bytes of all pages.</summary>
        public ulong PlainBytes;

        /// <summary>Where the index is.</summary>
        public ulong IndexOffset;

        /// <summary>XXH3 of the index.</summary>
        public ulong IndexHash;

        /// <summary>0.</summary>
        public ulong Reserved0, Reserved1;

        /// <summary>XXH3 of the header up to here.</summary>
        public ulong Hash;
    }

    /// <summary>A block.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Entry
    {
        /// <summary>Where it is in the file.</summary>
        public ulong Offset;

        /// <summary>How many bytes; as many as it has pages when it is not compressed.</summary>
        public uint StoredBytes;

        /// <summary>0.</summary>
        public uint Reserved;

        /// <summary>XXH3 of what is stored.</summary>
        public ulong StoredHash;

        /// <summary>XXH3 of the pages.</summary>
        public ulong PlainHash;
    }
}
