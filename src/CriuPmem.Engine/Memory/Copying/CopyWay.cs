namespace CriuPmem.Engine.Memory;

/// <summary>A way of bringing pages to where they are kept. One object serves one worker.</summary>
internal abstract class CopyWay : IDisposable
{
    /// <summary>Copies the pieces of one extent (2 MiB of the file); failures are noted in the job.</summary>
    /// <param name="worker">Reads them.</param>
    /// <param name="job">The job.</param>
    /// <param name="pieces">The pieces, one behind the other in the file.</param>
    public abstract void Copy(CopyWorker worker, CopyJob job, ReadOnlySpan<CopyPiece> pieces);

    /// <inheritdoc />
    public virtual void Dispose()
    {
    }
}
