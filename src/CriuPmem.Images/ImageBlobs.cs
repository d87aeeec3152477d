using CriuPmem.Images.Messages;

namespace CriuPmem.Images;

/// <summary>How many bytes follow an entry outside its message.</summary>
internal static class ImageBlobs
{
    /// <summary>Tells the length of what follows an entry.</summary>
    /// <param name="reader">The image, right after the entry.</param>
    /// <param name="message">The entry's message, under its name in proto/.</param>
    /// <param name="entry">The entry's bytes, checked.</param>
    /// <returns>Bytes; not yet held against what the file has.</returns>
    public static long LengthAfter(ImageReader reader, string message, ReadOnlySpan<byte> entry)
    {
        switch (reader.Kind.Blob)
        {
            case BlobAfter.PipeData:
                return PipeDataEntry.Parser.ParseFrom(entry).Bytes;
            case BlobAfter.Packet:
                return SkPacketEntry.Parser.ParseFrom(entry).Length;
            case BlobAfter.TcpQueues:
                TcpStreamEntry stream = TcpStreamEntry.Parser.ParseFrom(entry);
                return (long)stream.InqLen + stream.OutqLen;
            case BlobAfter.Ghost:
                return Ghost(reader, message, entry);
            case BlobAfter.SysvShm:
                IpcShmEntry segment = IpcShmEntry.Parser.ParseFrom(entry);
                if (segment.InPagemaps) return 0;
                if (segment.Size > long.MaxValue - 8) throw reader.Damaged("a segment larger than any can be");
                return Padded((long)segment.Size, 4);
            case BlobAfter.SysvSem:
                return Padded(2L * IpcSemEntry.Parser.ParseFrom(entry).Nsems, 8);
            case BlobAfter.BpfMap:
                BpfmapDataEntry map = BpfmapDataEntry.Parser.ParseFrom(entry);
                return (long)map.KeysBytes + map.ValuesBytes;
            default:
                return 0;
        }
    }

    /// <summary>Rounds a length up.</summary>
    /// <param name="lengthBytes">The length.</param>
    /// <param name="to">A power of two.</param>
    public static long Padded(long lengthBytes, long to) => (lengthBytes + to - 1) & -to;

    private static long Ghost(ImageReader reader, string message, ReadOnlySpan<byte> entry)
    {
        if (message == "GhostFileEntry")
        {
            return GhostFileEntry.Parser.ParseFrom(entry).Chunks ? 0 : reader.RemainingBytes;
        }

        ulong length = GhostChunkEntry.Parser.ParseFrom(entry).Len;
        return length <= long.MaxValue ? (long)length : throw reader.Damaged("a chunk larger than any file");
    }
}
