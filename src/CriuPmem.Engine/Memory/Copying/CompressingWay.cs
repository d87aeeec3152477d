using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Compressed, block by block.</summary>
/// <param name="file">Takes the blocks.</param>
internal sealed unsafe class CompressingWay(CompressedPagesWriter file) : BufferedWay
{
    private readonly BlockEncoder _encoder = file.NewEncoder();

    /// <inheritdoc />
    public override void Dispose()
    {
        _encoder.Dispose();
        base.Dispose();
    }

    /// <inheritdoc />
    protected override SysResult Store(CopyJob job, long offset, byte* from, int lengthBytes) =>
        file.Add(_encoder, offset, new ReadOnlySpan<byte>(from, lengthBytes));
}
