using System.Runtime.InteropServices;

namespace CriuPmem.Engine.Memory;

/// <summary>Through a buffer that stays in the CPU's cache.</summary>
internal abstract unsafe class BufferedWay : CopyWay
{
    /// <summary>The size of the buffer, in bytes.</summary>
    public const int BufferBytes = 512 * 1024;

    private readonly byte* _buffer = (byte*)NativeMemory.AlignedAlloc(BufferBytes, (nuint)PageSize);

    /// <inheritdoc />
    public override void Copy(CopyWorker worker, CopyJob job, ReadOnlySpan<CopyPiece> pieces)
    {
        while (!pieces.IsEmpty)
        {
            int count = 0, bytes = 0;
            while (count < pieces.Length && bytes + pieces[count].LengthBytes <= BufferBytes) bytes += pieces[count++].LengthBytes;
            if (!worker.Fetch(job, pieces[..count], _buffer)) return;
            SysResult stored = Store(job, pieces[0].FileOffset, _buffer, bytes);
            if (stored.Failed)
            {
                job.Fail("the memory of the process cannot be written", stored.Errno, 0);
                return;
            }

            pieces = pieces[count..];
        }
    }

    /// <inheritdoc />
    public override void Dispose()
    {
        NativeMemory.AlignedFree(_buffer);
        base.Dispose();
    }

    /// <summary>Stores what the buffer holds.</summary>
    protected abstract SysResult Store(CopyJob job, long offset, byte* from, int lengthBytes);
}
