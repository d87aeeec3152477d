namespace CriuPmem.Images;

/// <summary>An algorithm; the numbers stand in the images.</summary>
public enum PageCompressionMethod
{
    /// <summary>LZ4 blocks: as fast as memory to read.</summary>
    Lz4 = 1,

    /// <summary>Zstandard frames: smaller, a few times slower.</summary>
    Zstd = 2,
}
