using System.IO.Hashing;
using System.Runtime.InteropServices;
using System.Text;
using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>Writes a complete snapshot to a stream.</summary>
internal sealed class SnapshotSender(int fd)
{
    private const int BufferBytes = 1 << 20;

    private readonly XxHash3 _hash = new();
    private ulong _files;

    /// <summary>Bytes written.</summary>
    public long SentBytes { get; private set; }

    /// <summary>Sends all images of a directory, the inventory last; the stream is none before <see cref="End"/>.</summary>
    /// <exception cref="CheckpointException">Nobody reads it any more.</exception>
    public void SendFiles(SnapshotReader snapshot)
    {
        Span<byte> head = stackalloc byte[StreamFormat.HeadBytes];
        MemoryMarshal.Write(head, ImageKind.CommonMagic);
        MemoryMarshal.Write(head[4..], StreamFormat.Magic);
        MemoryMarshal.Write(head[8..], StreamFormat.Version);
        Write(head, hashed: false);
        var buffer = new byte[BufferBytes];
        string last = ImageKind.Inventory.FileName();
        foreach (string name in snapshot.FileNames().Where(static name => ImageKind.FromFileName(name, out _) is { Framing: not ImageFraming.Service })
            .OrderBy(name => name == last).ThenBy(static name => name, StringComparer.Ordinal))
        {
            ImageKind kind = ImageKind.FromFileName(name, out long id)!;
            using var file = new OwnedFd(snapshot.OpenRaw(kind, id, out long lengthBytes));
            SendFile(file.Fd, name, lengthBytes, buffer);
        }
    }

    /// <summary>Sends the end mark: from here on whoever reads it has a snapshot.</summary>
    public void End() => SendRecord(StreamFormat.End, [], _files);

    private void SendFile(int file, string name, long lengthBytes, byte[] buffer)
    {
        _files++;
        SendRecord(StreamFormat.File, Encoding.ASCII.GetBytes(name), (ulong)lengthBytes, more: true);
        for (long done = 0; done < lengthBytes;)
        {
            SysResult read = ImageFileCalls.ReadAt(file, buffer.AsSpan(0, (int)Math.Min(buffer.Length, lengthBytes - done)), done);
            if (read.Failed || read.Value == 0) throw new CheckpointException(ErrorCode.ImagesDirectory, "an image cannot be read again") { Object = name, Errno = read.Errno };
            Write(buffer.AsSpan(0, read.Value));
            done += read.Value;
        }

        SendHash();
    }

    private void SendRecord(uint type, ReadOnlySpan<byte> name, ulong lengthBytes, bool more = false)
    {
        var record = new StreamFormat.Record { Type = type, NameBytes = (uint)name.Length, LengthBytes = lengthBytes };
        Write(MemoryMarshal.AsBytes(new ReadOnlySpan<StreamFormat.Record>(in record)));
        Write(name);
        if (!more) SendHash();
    }

    private void SendHash()
    {
        Span<byte> hash = stackalloc byte[sizeof(ulong)];
        MemoryMarshal.Write(hash, _hash.GetCurrentHashAsUInt64());
        _hash.Reset();
        Write(hash, hashed: false);
    }

    private void Write(ReadOnlySpan<byte> bytes, bool hashed = true)
    {
        if (hashed) _hash.Append(bytes);
        SysResult written = PatientPipe.Write(fd, bytes);
        SentBytes += bytes.Length;
        if (!written.Failed) return;
        throw new CheckpointException(ErrorCode.StreamBroken, written.Errno == Errno.EPIPE ? "nobody reads the stream any more" : "the stream cannot be written")
        {
            Object = "standard output",
            Errno = written.Errno,
            Remedy = "See why the program behind it ended, and dump again: the tree runs as before.",
        };
    }
}
