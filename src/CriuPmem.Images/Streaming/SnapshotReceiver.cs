using System.IO.Hashing;
using System.Runtime.InteropServices;
using System.Text;
using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>Reads a snapshot from a stream into a directory that nobody else has.</summary>
internal sealed class SnapshotReceiver(int fd)
{
    private const int BufferBytes = 1 << 20;

    private readonly XxHash3 _hash = new();
    private readonly HashSet<string> _names = [];
    private string _place = "the head";

    /// <summary>Bytes read.</summary>
    public long ReceivedBytes { get; private set; }

    /// <summary>Receives until whoever sends it has closed it.</summary>
    /// <param name="directoryFd">Where the images go.</param>
    /// <exception cref="CheckpointException">It is damaged or cut; what was read is no snapshot.</exception>
    public void Receive(int directoryFd)
    {
        Span<byte> head = stackalloc byte[StreamFormat.HeadBytes];
        Read(head, hashed: false);
        if (MemoryMarshal.Read<uint>(head) != ImageKind.CommonMagic || MemoryMarshal.Read<uint>(head[4..]) != StreamFormat.Magic) throw Damaged("it is no stream of a snapshot", "Give it what dump --stream wrote.");
        if (MemoryMarshal.Read<ulong>(head[8..]) != StreamFormat.Version) throw Damaged("it is of another version", "Restore with the version that dumped.");
        var buffer = new byte[BufferBytes];
        while (ReceiveRecord(directoryFd, buffer)) Interruption.Check();
        // The dump ends its tree behind the end mark, and only then closes the stream: on the same machine the pids are free from then on.
        SysResult more = PatientPipe.Read(fd, buffer);
        if (more.Failed || more.Value != 0) throw Damaged("something follows its end", null);
    }

    private bool ReceiveRecord(int directoryFd, byte[] buffer)
    {
        var record = default(StreamFormat.Record);
        Read(MemoryMarshal.AsBytes(new Span<StreamFormat.Record>(ref record)));
        if (record.Type == StreamFormat.End && record.NameBytes == 0)
        {
            CheckHash();
            if (record.LengthBytes != (ulong)_names.Count) throw Damaged($"it has {_names.Count} files, and should have {record.LengthBytes}", null);
            return false;
        }

        if (record.Type != StreamFormat.File || record.NameBytes is 0 or > StreamFormat.MaxNameBytes || record.LengthBytes > long.MaxValue) throw Damaged("a record says what cannot be", null);
        var nameBytes = new byte[record.NameBytes];
        Read(nameBytes);
        string name = Encoding.Latin1.GetString(nameBytes);
        // Only a name that an image can have: none leads anywhere else.
        if (ImageKind.FromFileName(name, out _) is not { Framing: not ImageFraming.Service } || !_names.Add(name)) throw Damaged($"'{LinuxText.Printable(name)}' is no image, or comes twice", null);
        _place = name;
        SysResult opened = ImageFileCalls.OpenToWrite(directoryFd, name, truncate: true, readable: false);
        using var file = new OwnedFd((int)opened.OrThrow("open", name));
        for (ulong left = record.LengthBytes; left > 0;)
        {
            Span<byte> part = buffer.AsSpan(0, (int)Math.Min(left, BufferBytes));
            Read(part);
            SysResult written = ImageFileCalls.WriteFully(file.Fd, part);
            if (written.Failed) throw new CheckpointException(ErrorCode.NoSpace, "no memory is left for the images of the stream") { Object = name, Errno = written.Errno, Remedy = "Write the stream into a directory that has room (restore needs dump -D then), or free memory." };
            left -= (ulong)part.Length;
        }

        CheckHash();
        _place = "between two files";
        return true;
    }

    private void CheckHash()
    {
        ulong expected = _hash.GetCurrentHashAsUInt64();
        _hash.Reset();
        Span<byte> hash = stackalloc byte[sizeof(ulong)];
        Read(hash, hashed: false);
        if (MemoryMarshal.Read<ulong>(hash) != expected) throw Damaged("its checksum is another", null);
    }

    private void Read(Span<byte> bytes, bool hashed = true)
    {
        for (int done = 0; done < bytes.Length;)
        {
            SysResult read = PatientPipe.Read(fd, bytes[done..]);
            if (read.Failed) throw new CheckpointException(ErrorCode.StreamBroken, "the stream cannot be read") { Object = "standard input", Errno = read.Errno };
            if (read.Value == 0)
            {
                throw new CheckpointException(ErrorCode.StreamBroken, $"the stream ends after {ReceivedBytes + done} bytes, in {_place}, without its end mark")
                {
                    Object = "standard input",
                    Remedy = "See why the dump that wrote it ended: its tree runs on there.",
                };
            }

            done += read.Value;
        }

        ReceivedBytes += bytes.Length;
        if (hashed) _hash.Append(bytes);
    }

    private CheckpointException Damaged(string cause, string? remedy) => new(ErrorCode.ImageDamaged, cause)
    {
        Object = $"standard input, at byte {ReceivedBytes}, {_place}",
        Remedy = remedy ?? "Send it again.",
    };
}
