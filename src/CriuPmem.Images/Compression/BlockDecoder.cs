using K4os.Compression.LZ4;

namespace CriuPmem.Images;

/// <summary>Brings blocks back; one thread's.</summary>
internal sealed class BlockDecoder(PageCompressionMethod method) : IDisposable
{
    private readonly ZstdSharp.Decompressor? _zstd = method == PageCompressionMethod.Zstd ? new ZstdSharp.Decompressor() : null;

    /// <summary>Decompresses a block, whose length is known; false when it is not one of that length.</summary>
    public bool TryDecode(ReadOnlySpan<byte> stored, Span<byte> plain)
    {
        if (_zstd is null) return LZ4Codec.Decode(stored, plain) == plain.Length;
        try
        {
            return _zstd.TryUnwrap(stored, plain, out int length) && length == plain.Length;
        }
        catch (ZstdSharp.ZstdException)
        {
            return false;
        }
    }

    /// <inheritdoc />
    public void Dispose() => _zstd?.Dispose();
}
