namespace CriuPmem.Engine.Memory;

/// <summary>Straight into huge pages of a tmpfs file (<see cref="ExtentWindow"/>); by writing where there are none.</summary>
internal sealed unsafe class ExtentWay : CopyWay
{
    private readonly ExtentWindow _window = ExtentWindow.IntoTmpfs();
    private readonly WritingWay _otherwise = new();

    /// <inheritdoc />
    public override void Copy(CopyWorker worker, CopyJob job, ReadOnlySpan<CopyPiece> pieces)
    {
        long start = pieces[0].FileOffset;
        byte* extent = start % ExtentWindow.Bytes == 0 && start + ExtentWindow.Bytes <= job.EndBytes ? _window.TryMove(job.File, start) : null;
        if (extent is null) _otherwise.Copy(worker, job, pieces);
        else worker.Fetch(job, pieces, extent);
    }

    /// <inheritdoc />
    public override void Dispose()
    {
        _window.Dispose();
        _otherwise.Dispose();
        base.Dispose();
    }
}
