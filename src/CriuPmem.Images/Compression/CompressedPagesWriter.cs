using System.IO.Hashing;
using System.Runtime.InteropServices;
using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>Writes a file of compressed pages; any number of threads may add to it, in any order.</summary>
internal sealed class CompressedPagesWriter : IDisposable
{
    private readonly SnapshotWriter _snapshot;
    private readonly PageCompression _compression;
    private readonly string _name;
    private readonly int _fd;
    private readonly long _plainBytes;
    private readonly CompressedPagesFormat.Entry[] _index;
    private long _end = CompressedPagesFormat.HeaderBytes;

    /// <summary>Starts a file.</summary>
    /// <param name="snapshot">The snapshot.</param>
    /// <param name="pagesId">The number in its name.</param>
    /// <param name="compression">How pages are compressed.</param>
    /// <param name="plainBytes">Bytes of all pages that will be added.</param>
    public CompressedPagesWriter(SnapshotWriter snapshot, uint pagesId, PageCompression compression, long plainBytes)
    {
        _snapshot = snapshot;
        _compression = compression;
        _plainBytes = plainBytes;
        _name = ImageKind.CompressedPages.FileName(pagesId);
        _index = new CompressedPagesFormat.Entry[(plainBytes + compression.BlockBytes - 1) / compression.BlockBytes];
        _fd = snapshot.OpenRaw(ImageKind.CompressedPages, pagesId, truncate: true);
    }

    /// <summary>Called by whatever thread has added a block: bytes of its pages, and what became of them.</summary>
    public Action<int, int>? OnAdded { get; init; }

    /// <summary>Its bytes so far.</summary>
    public long StoredBytes => Interlocked.Read(ref _end);

    /// <summary>What a thread that adds needs of its own.</summary>
    public BlockEncoder NewEncoder() => new(_compression);

    /// <summary>Adds pages.</summary>
    /// <param name="encoder">The thread's own.</param>
    /// <param name="offset">Their place among all pages, a multiple of the block size.</param>
    /// <param name="plain">Whole blocks, but for the last.</param>
    /// <returns>The failed write, or success.</returns>
    public SysResult Add(BlockEncoder encoder, long offset, ReadOnlySpan<byte> plain)
    {
        while (!plain.IsEmpty)
        {
            ReadOnlySpan<byte> block = plain[..Math.Min(plain.Length, _compression.BlockBytes)];
            ReadOnlySpan<byte> stored = encoder.Encode(block);
            long place = Interlocked.Add(ref _end, stored.Length) - stored.Length;
            _index[offset / _compression.BlockBytes] = new CompressedPagesFormat.Entry
            {
                Offset = (ulong)place,
                StoredBytes = (uint)stored.Length,
                StoredHash = XxHash3.HashToUInt64(stored),
                PlainHash = XxHash3.HashToUInt64(block),
            };
            SysResult written = WriteAt(stored, place);
            if (written.Failed) return written;
            OnAdded?.Invoke(block.Length, stored.Length);
            offset += block.Length;
            plain = plain[block.Length..];
        }

        return default;
    }

    /// <summary>Writes index and header: without them the file is none.</summary>
    public void Complete()
    {
        ReadOnlySpan<byte> index = MemoryMarshal.AsBytes(_index.AsSpan());
        var header = new CompressedPagesFormat.Header
        {
            CommonMagic = ImageKind.CommonMagic,
            Magic = CompressedPagesFormat.Magic,
            Method = (uint)_compression.Method,
            BlockBytes = (uint)_compression.BlockBytes,
            PlainBytes = (ulong)_plainBytes,
            IndexOffset = (ulong)_end,
            IndexHash = XxHash3.HashToUInt64(index),
        };
        Span<byte> bytes = MemoryMarshal.AsBytes(new Span<CompressedPagesFormat.Header>(ref header));
        header.Hash = XxHash3.HashToUInt64(bytes[..^sizeof(ulong)]);
        Must(WriteAt(index, _end), index.Length, _end);
        Must(WriteAt(bytes, 0), bytes.Length, 0);
    }

    /// <inheritdoc />
    public void Dispose() => ImageFileCalls.Close(_fd);

    private void Must(SysResult written, int lengthBytes, long offset)
    {
        if (written.Failed) throw _snapshot.Failure("write", _name, written.Errno, lengthBytes, offset);
    }

    private SysResult WriteAt(ReadOnlySpan<byte> bytes, long offset)
    {
        for (int done = 0; done < bytes.Length;)
        {
            SysResult written = Sys.PWrite(_fd, bytes[done..], offset + done);
            if (written.Errno == Errno.EINTR) continue;
            if (written.Failed) return written;
            done += written.Value;
        }

        return default;
    }
}
