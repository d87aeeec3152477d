using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;
using CriuPmem.Images.Wire;
using CriuPmem.Kernel;
using Google.Protobuf;

namespace CriuPmem.Images;

/// <summary>Writes the entries of one image: gathers them, and writes them with as few calls as it can.</summary>
/// <remarks>
/// The file exists from the start; the entries are in it for certain only after <see cref="Dispose"/>, which throws if
/// they cannot be written. Not thread-safe.
/// </remarks>
internal sealed class ImageWriter : IDisposable
{
    private const int FirstBufferBytes = 16 << 10;
    private const int FlushAtBytes = 1 << 20;

    private readonly SnapshotWriter _snapshot;
    private readonly string _fileName;
    private byte[] _buffer;
    private int _used;
    private long _writtenBytes;
    private int _fd;

    internal ImageWriter(SnapshotWriter snapshot, ImageKind kind, string fileName, int fd)
    {
        _snapshot = snapshot;
        _fileName = fileName;
        _fd = fd;
        _buffer = ArrayPool<byte>.Shared.Rent(FirstBufferBytes);
        _used = WriteHeader(kind, _buffer);
    }

    /// <summary>Bytes given so far, the header included.</summary>
    public long LengthBytes => _writtenBytes + _used;

    /// <summary>Adds an entry.</summary>
    public void Add(IMessage entry)
    {
        int size = entry.CalculateSize();
        Span<byte> target = Reserve(4 + size);
        BinaryPrimitives.WriteInt32LittleEndian(target, size);
        entry.WriteTo(target.Slice(4, size));
        CheckWritten(entry, target.Slice(4, size));
        Advance(4 + size);
    }

    /// <summary>Adds an entry and the bytes that belong to it outside the message.</summary>
    public void Add(IMessage entry, ReadOnlySpan<byte> raw)
    {
        Add(entry);
        AddRaw(raw);
    }

    /// <summary>Adds bytes outside any message: contents, padding.</summary>
    public void AddRaw(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length >= FlushAtBytes)
        {
            Flush();
            Write(bytes);
            return;
        }

        bytes.CopyTo(Reserve(bytes.Length));
        Advance(bytes.Length);
    }

    /// <summary>Writes what is left and closes the file.</summary>
    public void Dispose()
    {
        if (_fd < 0) return;
        try
        {
            Flush();
        }
        finally
        {
            ImageFileCalls.Close(_fd);
            _fd = -1;
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = [];
        }
    }

    private static int WriteHeader(ImageKind kind, Span<byte> target)
    {
        int used = 0;
        if (kind.Framing is ImageFraming.Common or ImageFraming.Service)
        {
            uint first = kind.Framing == ImageFraming.Common ? ImageKind.CommonMagic : ImageKind.ServiceMagic;
            BinaryPrimitives.WriteUInt32LittleEndian(target, first);
            used = 4;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(target[used..], kind.Magic);
        return used + 4;
    }

    // A message that lacks a required field would be found at restore, far from the line that forgot it.
    [Conditional("DEBUG")]
    private static void CheckWritten(IMessage entry, ReadOnlySpan<byte> bytes)
    {
        if (WireChecker.TryCheck(MessageSchemas.Of(entry.GetType()), bytes, out WireFault fault)) return;
        throw new CheckpointException(ErrorCode.Internal, $"an entry that cannot be read back was written: {fault.Cause}");
    }

    private Span<byte> Reserve(int count)
    {
        ObjectDisposedException.ThrowIf(_fd < 0, this);
        if (_buffer.Length - _used < count)
        {
            byte[] larger = ArrayPool<byte>.Shared.Rent(checked(Math.Max(_used + count, _buffer.Length * 2)));
            _buffer.AsSpan(0, _used).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = larger;
        }

        return _buffer.AsSpan(_used, count);
    }

    private void Advance(int count)
    {
        _used += count;
        if (_used >= FlushAtBytes) Flush();
    }

    private void Flush()
    {
        int count = _used;
        _used = 0;
        Write(_buffer.AsSpan(0, count));
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        SysResult written = ImageFileCalls.WriteFully(_fd, bytes);
        if (written.Failed) throw _snapshot.Failure("write", _fileName, written.Errno, bytes.Length, _writtenBytes);
        _writtenBytes += bytes.Length;
    }
}
