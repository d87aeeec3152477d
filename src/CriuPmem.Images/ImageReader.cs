using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using CriuPmem.Images.Wire;
using CriuPmem.Kernel;
using Google.Protobuf;

namespace CriuPmem.Images;

/// <summary>Reads the entries of one image in order, and trusts nothing that it reads.</summary>
/// <remarks>
/// A file of up to 1 MiB is read by one call; of a larger one a window is kept. Lengths are held against the file's
/// own before anything is allocated for them. Whatever is wrong becomes a <see cref="CheckpointException"/> with
/// <see cref="ErrorCode.ImageDamaged"/> that names file, entry and byte. Not thread-safe.
/// </remarks>
internal sealed class ImageReader : IDisposable
{
    // A MmEntry of a million mappings has 45 MB.
    private const int MaxEntryBytes = 256 << 20;
    private const int WindowBytes = 1 << 20;

    private readonly string _path;
    private readonly long _fileBytes;
    private byte[] _buffer;
    private long _bufferOffset;
    private int _have;
    private int _next;
    private int _fd;

    internal ImageReader(ImageKind kind, string path, int fd, long fileBytes)
    {
        Kind = kind;
        _path = path;
        _fd = fd;
        _fileBytes = fileBytes;
        _buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(fileBytes, WindowBytes) + 1);
    }

    /// <summary>The kind of image.</summary>
    public ImageKind Kind { get; }

    /// <summary>The number of the entry that is read next, from 0.</summary>
    public int EntryIndex { get; private set; }

    /// <summary>Where in the file the next byte is read.</summary>
    public long OffsetBytes => _bufferOffset + _next;

    /// <summary>Bytes of the file that are not read yet.</summary>
    public long RemainingBytes => _fileBytes - OffsetBytes;

    /// <summary>Reads the next entry.</summary>
    /// <typeparam name="T">Its message.</typeparam>
    /// <param name="parser">The message's parser.</param>
    /// <param name="entry">The entry; its required fields are all there, its enumerations in range.</param>
    /// <returns>False at the end of the file.</returns>
    public bool TryRead<T>(MessageParser<T> parser, [NotNullWhen(true)] out T? entry) where T : class, IMessage<T>
    {
        entry = null;
        if (!TryReadBytes(MessageSchemas.Cache<T>.Schema, out ReadOnlySpan<byte> bytes)) return false;
        try
        {
            entry = parser.ParseFrom(bytes);
        }
        catch (InvalidProtocolBufferException broken)
        {
            throw Damaged(EntryIndex - 1, OffsetBytes - bytes.Length, broken.Message.TrimEnd('.'));
        }

        return true;
    }

    /// <summary>Reads the next entry, which must be there.</summary>
    public T Read<T>(MessageParser<T> parser) where T : class, IMessage<T> =>
        TryRead(parser, out T? entry) ? entry : throw Damaged("the file ends where an entry belongs");

    /// <summary>Reads bytes outside any message.</summary>
    /// <param name="lengthBytes">How many; an entry told it.</param>
    /// <returns>The bytes, until the next call.</returns>
    public ReadOnlySpan<byte> ReadRaw(long lengthBytes)
    {
        if (lengthBytes < 0 || lengthBytes > RemainingBytes)
        {
            throw Damaged($"{lengthBytes} bytes of contents belong here, the file has {RemainingBytes}");
        }

        if (lengthBytes > Array.MaxLength)
        {
            throw new CheckpointException(ErrorCode.ImageUnsupported, $"{lengthBytes} bytes of contents in one piece")
            {
                Object = _path,
            };
        }

        ReadOnlySpan<byte> bytes = Window((int)lengthBytes);
        _next += bytes.Length;
        return bytes;
    }

    /// <summary>Steps over contents that the caller takes from the file itself.</summary>
    /// <param name="lengthBytes">How many bytes; an entry told it.</param>
    /// <returns>Where in the file they begin.</returns>
    public long SkipRaw(long lengthBytes)
    {
        if (lengthBytes < 0 || lengthBytes > RemainingBytes)
        {
            throw Damaged($"{lengthBytes} bytes of contents belong here, the file has {RemainingBytes}");
        }

        long start = OffsetBytes;
        long target = start + lengthBytes;
        if (target <= _bufferOffset + _have)
        {
            _next = (int)(target - _bufferOffset);
        }
        else
        {
            _bufferOffset = target;
            _have = 0;
            _next = 0;
        }

        return start;
    }

    /// <summary>The failure of a caller's own check of the entry that it read last.</summary>
    /// <param name="cause">What is wrong, in plain words, without a full stop.</param>
    public CheckpointException Damaged(string cause) => Damaged(Math.Max(0, EntryIndex - 1), OffsetBytes, cause);

    /// <summary>Closes the file.</summary>
    public void Dispose()
    {
        if (_fd < 0) return;
        ImageFileCalls.Close(_fd);
        _fd = -1;
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = [];
    }

    /// <summary>Reads the next entry's bytes, checked against its table.</summary>
    /// <param name="schema">What the entry should be.</param>
    /// <param name="bytes">The bytes, until the next call.</param>
    /// <returns>False at the end of the file.</returns>
    internal bool TryReadBytes(MessageSchema schema, out ReadOnlySpan<byte> bytes)
    {
        bytes = default;
        if (RemainingBytes == 0) return false;
        int index = EntryIndex;
        if (RemainingBytes < 4) throw Damaged(index, OffsetBytes, "the file ends within the size of an entry");
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(Window(4));
        if (size > RemainingBytes - 4)
        {
            throw Damaged(index, OffsetBytes, $"an entry of {size} bytes where the file has {RemainingBytes - 4} left");
        }

        if (size > MaxEntryBytes) throw Damaged(index, OffsetBytes, $"an entry of {size} bytes, which none can have");
        _next += 4;
        bytes = Window((int)size);
        _next += bytes.Length;
        EntryIndex++;
        if (WireChecker.TryCheck(schema, bytes, out WireFault fault)) return true;
        throw Damaged(index, OffsetBytes - bytes.Length + fault.OffsetBytes, fault.Cause);
    }

    /// <summary>Checks the header.</summary>
    internal void ReadHeader()
    {
        if (RemainingBytes < Kind.HeaderBytes) throw Damaged(0, 0, "the file ends within its header");
        ReadOnlySpan<byte> header = Window(Kind.HeaderBytes);
        if (Kind.Framing is ImageFraming.Common or ImageFraming.Service)
        {
            CheckMagic(header, 0, Kind.Framing == ImageFraming.Common ? ImageKind.CommonMagic : ImageKind.ServiceMagic);
            CheckMagic(header, 4, Kind.Magic);
        }
        else if (Kind.Framing == ImageFraming.Inventory)
        {
            CheckMagic(header, 0, Kind.Magic);
        }

        _next += header.Length;
    }

    private void CheckMagic(ReadOnlySpan<byte> header, int at, uint expected)
    {
        uint found = BinaryPrimitives.ReadUInt32LittleEndian(header[at..]);
        if (found == expected) return;
        throw Damaged(0, at, $"the file's header holds 0x{found:x8} where 0x{expected:x8} ({Kind.Name}) belongs");
    }

    private CheckpointException Damaged(int entry, long offsetBytes, string cause) =>
        new(ErrorCode.ImageDamaged, $"entry {entry}, byte {offsetBytes}: {cause}")
        {
            Object = _path,
            Remedy = "This file no longer holds what was written: restore from another snapshot, or dump again.",
        };

    // The next bytes of the file, as one piece; the count is already held against what the file has.
    private ReadOnlySpan<byte> Window(int count)
    {
        if (_have - _next < count) Fill(count);
        return _buffer.AsSpan(_next, count);
    }

    private void Fill(int count)
    {
        int kept = _have - _next;
        long wanted = Math.Min(RemainingBytes, Math.Max(count, WindowBytes));
        if (_buffer.Length < wanted)
        {
            byte[] larger = ArrayPool<byte>.Shared.Rent((int)wanted);
            _buffer.AsSpan(_next, kept).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = larger;
        }
        else
        {
            _buffer.AsSpan(_next, kept).CopyTo(_buffer);
        }

        _bufferOffset += _next;
        _next = 0;
        _have = kept;
        SysResult read = ImageFileCalls.ReadAt(_fd, _buffer.AsSpan(kept, (int)wanted - kept), _bufferOffset + kept);
        if (read.Failed)
        {
            throw new CheckpointException(ErrorCode.ImagesDirectory, "cannot read the image")
            {
                Object = _path,
                Errno = read.Errno,
            };
        }

        _have += read.Value;
        if (_have < count) throw Damaged(EntryIndex, _bufferOffset + _have, "the file became shorter while it was read");
    }
}
