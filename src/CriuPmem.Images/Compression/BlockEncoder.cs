using System.Runtime.InteropServices;
using K4os.Compression.LZ4;

namespace CriuPmem.Images;

/// <summary>Compresses blocks; one thread's.</summary>
internal sealed unsafe class BlockEncoder : IDisposable
{
    private readonly PageCompression _compression;
    private readonly byte* _buffer;
    private readonly ZstdSharp.Compressor? _zstd;

    /// <summary>Makes one.</summary>
    public BlockEncoder(PageCompression compression)
    {
        _compression = compression;
        _buffer = (byte*)NativeMemory.AlignedAlloc((nuint)compression.BlockBytes, 4096);
        if (compression.Method == PageCompressionMethod.Zstd) _zstd = new ZstdSharp.Compressor(compression.Level);
    }

    /// <summary>Compresses a block.</summary>
    /// <returns>What is to be stored, good until the next call: <paramref name="plain"/> itself when nothing is gained.</returns>
    public ReadOnlySpan<byte> Encode(ReadOnlySpan<byte> plain)
    {
        var room = new Span<byte>(_buffer, plain.Length - 1); // what does not fit in here gains nothing
        int length;
        if (_zstd is null)
        {
            LZ4Level level = _compression.Level < 3 ? LZ4Level.L00_FAST : (LZ4Level)_compression.Level;
            length = LZ4Codec.Encode(plain, room, level);
        }
        else if (!_zstd.TryWrap(plain, room, out length))
        {
            length = 0;
        }

        return length <= 0 ? plain : room[..length];
    }

    /// <inheritdoc />
    public void Dispose()
    {
        NativeMemory.AlignedFree(_buffer);
        _zstd?.Dispose();
    }
}
