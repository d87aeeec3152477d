namespace CriuPmem.Engine.Memory;

/// <summary>Into the engine's own memory.</summary>
/// <param name="destination">Where the bytes go that belong at the file's beginning.</param>
internal sealed unsafe class MemoryWay(ulong destination) : CopyWay
{
    /// <inheritdoc />
    public override void Copy(CopyWorker worker, CopyJob job, ReadOnlySpan<CopyPiece> pieces) =>
        worker.Fetch(job, pieces, (byte*)destination + pieces[0].FileOffset);
}
