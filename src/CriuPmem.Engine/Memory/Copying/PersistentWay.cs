using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace CriuPmem.Engine.Memory;

/// <summary>By stores past the CPU's caches into persistent memory (DAX) that a file has already; by writing where it has none.</summary>
/// <remarks>
/// write(2) into a file has one CPU at a time store, which persistent memory is too slow for; mapped, each does. The sync at the
/// end of a dump writes back what was stored, as of every mapped DAX file (Documentation/filesystems/dax.rst), and finds little to
/// do. Not with MAP_SYNC: that makes the first store to each page wait for the journal, to save a sync that comes anyway.
/// </remarks>
internal sealed unsafe class PersistentWay : BufferedWay
{
    private readonly ExtentWindow _window = ExtentWindow.IntoPersistentMemory();
    private long _start = -1; // of the extent where the window is, or may not be
    private byte* _extent;

    /// <inheritdoc />
    public override void Copy(CopyWorker worker, CopyJob job, ReadOnlySpan<CopyPiece> pieces)
    {
        _start = -1; // the last job's file may have been another
        base.Copy(worker, job, pieces);
    }

    /// <inheritdoc />
    public override void Dispose()
    {
        _window.Dispose();
        base.Dispose();
    }

    /// <inheritdoc />
    protected override SysResult Store(CopyJob job, long offset, byte* from, int lengthBytes)
    {
        long start = offset & -(long)ExtentWindow.Bytes;
        if (start != _start)
        {
            _start = start;
            _extent = start + ExtentWindow.Bytes <= job.EndBytes ? _window.TryMove(job.File, start) : null;
        }

        if (_extent is null) return WritingWay.Write(job.File, offset, from, lengthBytes);
        StorePastCaches(_extent + (offset - start), from, lengthBytes);
        return default;
    }

    /// <summary>Copies whole pages.</summary>
    private static void StorePastCaches(byte* to, byte* from, int lengthBytes)
    {
        for (byte* end = to + lengthBytes; to < end; to += 64, from += 64)
        {
            Vector128<byte> a = Vector128.LoadAligned(from), b = Vector128.LoadAligned(from + 16);
            Vector128<byte> c = Vector128.LoadAligned(from + 32), d = Vector128.LoadAligned(from + 48);
            a.StoreAlignedNonTemporal(to);
            b.StoreAlignedNonTemporal(to + 16);
            c.StoreAlignedNonTemporal(to + 32);
            d.StoreAlignedNonTemporal(to + 48);
        }

        Sse.StoreFence(); // such stores wait in buffers of the CPU
    }
}
