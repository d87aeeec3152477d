using System.IO.Hashing;
using System.Runtime.InteropServices;
using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>hot-pages.img: what a program touched first at an earlier restore, in that order (docs/images.md). Advice: never more.</summary>
/// <remarks>
/// <code>
///  0        32
///  +--------+-------+-------+- - -
///  | head   | entry | entry |            little endian, see <see cref="Head"/> and <see cref="HotRange"/>
///  +--------+-------+-------+- - -
/// </code>
/// It is written when its snapshot may have been replaced or removed, so it says by the inventory to which one it belongs.
/// </remarks>
internal static class HotPagesFile
{
    /// <summary>The second word; the first is <see cref="ImageKind.CommonMagic"/>.</summary>
    public const uint Magic = 0x50544F48;

    /// <summary>The most entries: 64 KiB.</summary>
    public const int MaxEntries = 4096;

    private const uint Version = 1;
    private const string NewName = ".hot-pages.new";
    private const int MaxInventoryBytes = 1 << 20;

    /// <summary>What stands in the file of a snapshot; none when there is no such file.</summary>
    /// <param name="directoryFd">The images directory.</param>
    /// <param name="snapshot">See <see cref="SnapshotOf"/>.</param>
    /// <param name="cause">Why a file that is there is not heeded; null when it is, or is none.</param>
    public static HotRange[] Read(int directoryFd, ulong snapshot, out string? cause)
    {
        cause = null;
        var bytes = new byte[Marshal.SizeOf<Head>() + MaxEntries * Marshal.SizeOf<HotRange>() + 1];
        SysResult read = ReadFile(directoryFd, ImageKind.HotPages.FileName(), bytes);
        if (read.Errno == Errno.ENOENT) return [];
        Span<byte> file = bytes.AsSpan(0, read.Failed ? 0 : read.Value);
        cause = read.Failed ? $"it cannot be read ({read.Errno})" : Fault(file, snapshot);
        return cause is null ? MemoryMarshal.Cast<byte, HotRange>(file[Marshal.SizeOf<Head>()..]).ToArray() : [];
    }

    /// <summary>There is such a file, whatever it says.</summary>
    public static bool Exists(int directoryFd)
    {
        SysResult opened = ImageFileCalls.OpenToRead(directoryFd, ImageKind.HotPages.FileName());
        if (!opened.Failed) ImageFileCalls.Close(opened.Value);
        return !opened.Failed;
    }

    /// <summary>Writes it, in the place of an older one, if the directory still holds that snapshot.</summary>
    /// <param name="directoryFd">The images directory.</param>
    /// <param name="snapshot">See <see cref="SnapshotOf"/>.</param>
    /// <param name="ranges">At most <see cref="MaxEntries"/>.</param>
    /// <returns>The error that prevented it: ESTALE when another snapshot is there.</returns>
    public static SysResult Write(int directoryFd, ulong snapshot, ReadOnlySpan<HotRange> ranges)
    {
        var file = new byte[Marshal.SizeOf<Head>() + ranges.Length * Marshal.SizeOf<HotRange>()];
        ranges.CopyTo(MemoryMarshal.Cast<byte, HotRange>(file.AsSpan(Marshal.SizeOf<Head>())));
        var head = new Head { Common = ImageKind.CommonMagic, Kind = Magic, Version = Version, Entries = (uint)ranges.Length, Snapshot = snapshot };
        MemoryMarshal.Write(file, head);
        head.Checksum = XxHash3.HashToUInt64(file);
        MemoryMarshal.Write(file, head);
        if (snapshot == 0 || SnapshotOf(directoryFd) != snapshot) return new SysResult(-(long)Errno.ESTALE);
        SysResult opened = ImageFileCalls.OpenToWrite(directoryFd, NewName, truncate: true, readable: false);
        if (opened.Failed) return opened;
        SysResult written = ImageFileCalls.WriteFully(opened.Value, file);
        ImageFileCalls.Close(opened.Value);
        // Nobody is kept out meanwhile: what a dump replaces in between is told by the checksums, here and in the inventory's.
        if (!written.Failed) written = ImageFileCalls.Rename(directoryFd, NewName, directoryFd, ImageKind.HotPages.FileName());
        if (written.Failed) ImageFileCalls.Unlink(directoryFd, NewName);
        return written;
    }

    /// <summary>What tells one snapshot from every other: XXH3 of its inventory; 0 when there is none.</summary>
    public static ulong SnapshotOf(int directoryFd)
    {
        SysResult opened = ImageFileCalls.OpenToRead(directoryFd, ImageKind.Inventory.FileName());
        if (opened.Failed) return 0;
        SysResult read = ImageFileCalls.RegularFileLength(opened.Value);
        byte[] bytes = read.Failed || read.Raw is 0 or > MaxInventoryBytes ? [] : new byte[read.Value];
        if (bytes.Length > 0) read = ImageFileCalls.ReadAt(opened.Value, bytes, 0);
        ImageFileCalls.Close(opened.Value);
        return bytes.Length == 0 || read.Failed || read.Value != bytes.Length ? 0 : XxHash3.HashToUInt64(bytes);
    }

    private static string? Fault(Span<byte> file, ulong snapshot)
    {
        if (file.Length < Marshal.SizeOf<Head>()) return "it is too short";
        Head head = MemoryMarshal.Read<Head>(file);
        if (head.Common != ImageKind.CommonMagic || head.Kind != Magic || head.Version != Version) return "it is of another kind";
        if (head.Snapshot != snapshot) return "it belongs to another snapshot";
        MemoryMarshal.Write(file, head with { Checksum = 0 });
        if (XxHash3.HashToUInt64(file) != head.Checksum) return "its checksum is another";
        if ((ulong)file.Length != (ulong)Marshal.SizeOf<Head>() + head.Entries * (ulong)Marshal.SizeOf<HotRange>()) return "its length is another";
        foreach (HotRange range in MemoryMarshal.Cast<byte, HotRange>(file[Marshal.SizeOf<Head>()..]))
        {
            if (range.Pages == 0 || range.Start % Pagemap.PageBytes != 0 || range.End < range.Start) return "an entry says what cannot be";
        }

        return null;
    }

    private static SysResult ReadFile(int directoryFd, string name, Span<byte> bytes)
    {
        SysResult opened = ImageFileCalls.OpenToRead(directoryFd, name);
        if (opened.Failed) return opened;
        SysResult read = ImageFileCalls.RegularFileLength(opened.Value);
        if (!read.Failed) read = ImageFileCalls.ReadAt(opened.Value, bytes, 0);
        ImageFileCalls.Close(opened.Value);
        return read;
    }

    /// <summary>The head: 32 bytes.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Head
    {
        /// <summary><see cref="ImageKind.CommonMagic"/>.</summary>
        public uint Common;

        /// <summary><see cref="Magic"/>.</summary>
        public uint Kind;

        /// <summary>1.</summary>
        public uint Version;

        /// <summary>How many entries follow.</summary>
        public uint Entries;

        /// <summary>XXH3 of the inventory to which they belong.</summary>
        public ulong Snapshot;

        /// <summary>XXH3 of the whole file, with 0 here.</summary>
        public ulong Checksum;
    }
}
