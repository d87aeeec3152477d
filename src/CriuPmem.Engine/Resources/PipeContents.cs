using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>The pipes and FIFOs of the images: which open files are ends of which, and what was in them.</summary>
internal sealed class PipeContents(RestoreContext context)
{
    private readonly Dictionary<ImageKind, Dictionary<uint, (PipeDataEntry Entry, byte[] Bytes)>> _contents = [];
    private ILookup<uint, FileEntry>? _pipes, _fifos;

    /// <summary>The open ends of a pipe.</summary>
    public IEnumerable<FileEntry> OpenEnds(uint pipeId) =>
        (_pipes ??= context.Files.OfType(FdTypes.Pipe).ToLookup(entry => entry.Pipe.PipeId))[pipeId];

    /// <summary>The open files of a FIFO.</summary>
    public IEnumerable<FileEntry> OpenFifos(uint pipeId) =>
        (_fifos ??= context.Files.OfType(FdTypes.Fifo).ToLookup(entry => entry.Fifo.PipeId))[pipeId];

    /// <summary>Unread bytes of a pipe or FIFO.</summary>
    public int BytesOf(ImageKind image, uint pipeId) => Of(image).TryGetValue(pipeId, out var found) ? found.Bytes.Length : 0;

    /// <summary>Sets a pipe's capacity and writes the contents; packets one by one.</summary>
    /// <param name="image">Where the contents are.</param>
    /// <param name="pipeId">The pipe.</param>
    /// <param name="writeEnd">An end of it that is empty and does not block.</param>
    /// <param name="what">For messages.</param>
    public void Fill(ImageKind image, uint pipeId, int writeEnd, string what)
    {
        if (!Of(image).TryGetValue(pipeId, out var found)) return;
        if (found.Entry.HasSize) SetCapacity(writeEnd, (int)found.Entry.Size, what);
        ReadOnlySpan<byte> bytes = found.Bytes;
        if (found.Entry.PacketBytes.Count == 0)
        {
            Write(writeEnd, bytes, what);
            return;
        }

        Sys.Fcntl(writeEnd, F_SETFL, O_DIRECT | O_NONBLOCK).OrThrow("fcntl(F_SETFL)", what);
        foreach (uint packetBytes in found.Entry.PacketBytes)
        {
            if (packetBytes > bytes.Length) throw new CheckpointException(ErrorCode.ImageDamaged, "its packets are longer than its contents") { Object = what };
            Write(writeEnd, bytes[..(int)packetBytes], what);
            bytes = bytes[(int)packetBytes..];
        }

        Sys.Fcntl(writeEnd, F_SETFL, O_NONBLOCK).OrThrow("fcntl(F_SETFL)", what);
    }

    private static void SetCapacity(int fd, int capacity, string what)
    {
        if (Sys.Fcntl(fd, F_GETPIPE_SZ).Raw == capacity) return;
        SysResult set = Sys.Fcntl(fd, F_SETPIPE_SZ, capacity);
        if (!set.Failed) return;
        throw new CheckpointException(ErrorCode.SystemCall, $"a pipe's capacity of {capacity} bytes cannot be had")
        {
            Object = what,
            Errno = set.Errno,
            Remedy = $"Allow it: sysctl fs.pipe-max-size={capacity}",
        };
    }

    private static void Write(int fd, ReadOnlySpan<byte> bytes, string what)
    {
        if (bytes.IsEmpty) return;
        long written = Sys.Write(fd, bytes).OrThrow("write", what);
        if (written != bytes.Length) throw new CheckpointException(ErrorCode.Internal, $"of {bytes.Length} bytes only {written} fit into the pipe") { Object = what };
    }

    private Dictionary<uint, (PipeDataEntry Entry, byte[] Bytes)> Of(ImageKind image)
    {
        if (_contents.TryGetValue(image, out var contents)) return contents;
        contents = [];
        _contents.Add(image, contents);
        using ImageReader? reader = context.Reader.OpenIfPresent(image);
        while (reader is not null && reader.TryRead(PipeDataEntry.Parser, out PipeDataEntry? entry))
        {
            contents[entry.PipeId] = (entry, reader.ReadRaw(entry.Bytes).ToArray());
        }

        return contents;
    }
}
