namespace CriuPmem.Images;

/// <summary>How saved pages are made smaller (--compress).</summary>
/// <param name="Method">The algorithm.</param>
/// <param name="Level">Its level; higher is smaller and slower.</param>
public readonly record struct PageCompression(PageCompressionMethod Method, int Level)
{
    /// <summary>LZ4 at its fastest: what a store of 1 GB/s and less gains from.</summary>
    public static PageCompression Default { get; } = new(PageCompressionMethod.Lz4, 1);

    /// <summary>The level that is taken when none is given.</summary>
    public static int DefaultLevel(PageCompressionMethod method) => method == PageCompressionMethod.Lz4 ? 1 : 3;

    /// <summary>The highest level there is.</summary>
    public static int MaxLevel(PageCompressionMethod method) => method == PageCompressionMethod.Lz4 ? 12 : 19;

    /// <summary>The bytes of memory that become one block. LZ4 looks back 64 KiB only; zstd gains from more.</summary>
    internal int BlockBytes => Method == PageCompressionMethod.Lz4 ? 128 << 10 : 256 << 10;
}
