using System.IO.Hashing;
using System.Numerics;
using System.Runtime.InteropServices;
using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>Reads a file of compressed pages, any block at any time; one thread's, but its index can be shared.</summary>
internal sealed unsafe class CompressedPagesReader : IDisposable
{
    private readonly int _fd;
    private readonly string _name;
    private readonly CompressedPagesFormat.Header _header;
    private readonly CompressedPagesFormat.Entry[] _index;
    private readonly BlockDecoder _decoder;
    private readonly byte* _stored;

    private CompressedPagesReader(int fd, string name, CompressedPagesFormat.Header header, CompressedPagesFormat.Entry[] index)
    {
        _fd = fd;
        _name = name;
        _header = header;
        _index = index;
        _decoder = new BlockDecoder((PageCompressionMethod)header.Method);
        _stored = (byte*)NativeMemory.AlignedAlloc(header.BlockBytes, 4096);
    }

    /// <summary>Bytes of pages in each block but the last.</summary>
    public int BlockBytes => (int)_header.BlockBytes;

    /// <summary>Bytes of all pages.</summary>
    public long PlainBytes => (long)_header.PlainBytes;

    /// <summary>How many blocks there are.</summary>
    public int Blocks => _index.Length;

    /// <summary>Reads header and index.</summary>
    /// <param name="fd">The file; stays the caller's.</param>
    /// <param name="name">Its name for messages.</param>
    /// <exception cref="CheckpointException">It is damaged.</exception>
    public static CompressedPagesReader Open(int fd, string name)
    {
        SysResult length = ImageFileCalls.RegularFileLength(fd);
        CompressedPagesFormat.Header header = default;
        Span<byte> bytes = MemoryMarshal.AsBytes(new Span<CompressedPagesFormat.Header>(ref header));
        if (length.Failed || length.Raw < bytes.Length) throw Damaged(name, "it ends within its header");
        Read(fd, bytes, 0, name);
        if (header.CommonMagic != ImageKind.CommonMagic || header.Magic != CompressedPagesFormat.Magic) throw Damaged(name, "it is no file of compressed pages");
        if (header.Hash != XxHash3.HashToUInt64(bytes[..^sizeof(ulong)])) throw Damaged(name, "its header has another checksum");
        if (header.Method is not ((uint)PageCompressionMethod.Lz4 or (uint)PageCompressionMethod.Zstd))
        {
            throw new CheckpointException(ErrorCode.ImageUnsupported, $"pages are compressed in a way (number {header.Method}) that this version does not know") { Object = name, Remedy = "Restore with the version that dumped, or a newer one." };
        }

        ulong blocks = header.BlockBytes == 0 ? 0 : header.PlainBytes / header.BlockBytes + (header.PlainBytes % header.BlockBytes == 0 ? 0UL : 1);
        if (!BitOperations.IsPow2(header.BlockBytes) || header.BlockBytes is < 4096 or > CompressedPagesFormat.MaxBlockBytes || header.PlainBytes % 4096 != 0 || header.PlainBytes > long.MaxValue ||
            header.IndexOffset > (ulong)length.Raw || blocks > int.MaxValue / CompressedPagesFormat.EntryBytes || blocks * CompressedPagesFormat.EntryBytes > (ulong)length.Raw - header.IndexOffset)
        {
            throw Damaged(name, "its header says what cannot be");
        }

        var index = new CompressedPagesFormat.Entry[blocks];
        Span<byte> indexBytes = MemoryMarshal.AsBytes(index.AsSpan());
        Read(fd, indexBytes, (long)header.IndexOffset, name);
        if (header.IndexHash != XxHash3.HashToUInt64(indexBytes)) throw Damaged(name, "its index has another checksum");
        foreach (ref readonly CompressedPagesFormat.Entry entry in index.AsSpan())
        {
            if (entry.StoredBytes == 0 || entry.StoredBytes > header.BlockBytes || entry.Offset > header.IndexOffset || entry.StoredBytes > header.IndexOffset - entry.Offset) throw Damaged(name, "its index leads out of it");
        }

        return new CompressedPagesReader(fd, name, header, index);
    }

    /// <summary>The same file for another thread.</summary>
    public CompressedPagesReader Again() => new(_fd, _name, _header, _index);

    /// <summary>Brings a block back.</summary>
    /// <param name="block">Its number.</param>
    /// <param name="plain">Room for at least <see cref="LengthOf"/>.</param>
    /// <exception cref="CheckpointException">It is damaged.</exception>
    public void ReadBlock(int block, Span<byte> plain)
    {
        CompressedPagesFormat.Entry entry = _index[block];
        plain = plain[..LengthOf(block)];
        var stored = new Span<byte>(_stored, (int)entry.StoredBytes);
        Read(_fd, stored, (long)entry.Offset, _name);
        if (XxHash3.HashToUInt64(stored) != entry.StoredHash) throw Damaged(_name, $"the block of bytes {(long)block * BlockBytes} to {(long)block * BlockBytes + plain.Length} has another checksum");
        if (stored.Length == plain.Length) stored.CopyTo(plain);
        else if (!_decoder.TryDecode(stored, plain)) throw Damaged(_name, $"block {block} cannot be decompressed");
        if (XxHash3.HashToUInt64(plain) != entry.PlainHash) throw Damaged(_name, $"the pages of block {block} have another checksum");
    }

    /// <summary>Bytes of pages in a block.</summary>
    public int LengthOf(int block) => (int)Math.Min(BlockBytes, PlainBytes - (long)block * BlockBytes);

    /// <inheritdoc />
    public void Dispose()
    {
        NativeMemory.AlignedFree(_stored);
        _decoder.Dispose();
    }

    private static void Read(int fd, Span<byte> bytes, long offset, string name)
    {
        SysResult read = ImageFileCalls.ReadAt(fd, bytes, offset);
        if (read.Failed) throw new CheckpointException(ErrorCode.ImagesDirectory, "compressed pages cannot be read") { Object = name, Errno = read.Errno };
        if (read.Value != bytes.Length) throw Damaged(name, $"it ends at {offset + read.Value}, where more is expected");
    }

    private static CheckpointException Damaged(string name, string cause) => new(ErrorCode.ImageDamaged, cause)
    {
        Object = name,
        Remedy = "Restore from another snapshot, or dump again.",
    };
}
