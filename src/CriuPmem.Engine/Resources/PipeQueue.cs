using CriuPmem.Engine.Dump;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>The unread contents of all pipes (or all FIFOs) of a tree, copied by tee(2), which consumes nothing.</summary>
/// <remarks>
/// <code>
/// pipe of the program ──tee──▶ scratch pipe of the same capacity ──read──▶ pipes-data.img
/// </code>
/// Packets (O_DIRECT) stay packets in the copy, and a read returns one at a time: their lengths are kept.
/// </remarks>
internal sealed unsafe class PipeQueue(DumpContext context, ImageKind image)
{
    private const int SPLICE_F_NONBLOCK = 2;

    private readonly Dictionary<uint, PipeSource> _sources = [];

    /// <summary>The pipes noted so far.</summary>
    public IEnumerable<PipeSource> Sources => _sources.Values;

    /// <summary>Notes an open end; the contents are copied when nothing can refuse the dump any more.</summary>
    /// <param name="pipeId">The pipe.</param>
    /// <param name="file">The open end.</param>
    /// <returns>What is known of the pipe.</returns>
    public PipeSource Note(uint pipeId, OpenFile file)
    {
        if (_sources.Count == 0) context.Contents.Add(Write);
        if (!_sources.TryGetValue(pipeId, out PipeSource? source))
        {
            int capacity = (int)Sys.Fcntl(file.Copy(), F_GETPIPE_SZ).OrThrow("fcntl(F_GETPIPE_SZ)", file.ToString());
            _sources.Add(pipeId, source = new PipeSource(pipeId, capacity));
        }

        source.Add(file);
        return source;
    }

    private void Write()
    {
        using ImageWriter writer = context.Snapshot.Create(image);
        using var scratch = new Scratch();
        foreach (PipeSource source in _sources.Values)
        {
            var entry = new PipeDataEntry { PipeId = source.PipeId, Size = (uint)source.Capacity };
            ReadOnlySpan<byte> contents = Read(source, scratch, entry);
            entry.Bytes = (uint)contents.Length;
            writer.Add(entry, contents);
        }
    }

    private static ReadOnlySpan<byte> Read(PipeSource source, Scratch scratch, PipeDataEntry entry)
    {
        DumpProcess process = source.Process;
        string what = $"{process}, fd {source.Fd}";
        using var end = new OwnedFd((int)process.CopyOf(source.Fd).OrThrow("pidfd_getfd", what));
        int unread = 0;
        Sys.Ioctl(end.Fd, FIONREAD, ref unread).OrThrow("ioctl(FIONREAD)", what);
        if (unread == 0) return default;
        // Nobody in the tree has an end to read from: one more is opened for the moment.
        using var reader = new OwnedFd(source.HasReader ? -1 : (int)Sys.OpenAt(process.Proc.Fd, $"fd/{source.Fd}", O_RDONLY | O_NONBLOCK).OrThrow("open", what));
        scratch.Resize(source.Capacity);
        long copied = Syscall.Invoke(SyscallNumber.tee, source.HasReader ? end.Fd : reader.Fd, scratch.WriteEnd, int.MaxValue, SPLICE_F_NONBLOCK).OrThrow("tee", what);
        if (copied != unread) throw process.Fail(ErrorCode.Internal, $"of {unread} bytes in a pipe {copied} were copied", what: what);
        var contents = new byte[unread];
        for (int at = 0; at < unread;)
        {
            int read = (int)Sys.Read(scratch.ReadEnd, contents.AsSpan(at)).OrThrow("read", what);
            if (source.Packets || read < unread) entry.PacketBytes.Add((uint)read);
            at += read;
        }

        return contents;
    }

    private sealed class Scratch : IDisposable
    {
        private readonly int[] _ends = new int[2];
        private int _capacity;

        public Scratch()
        {
            fixed (int* ends = _ends) Syscall.Invoke(SyscallNumber.pipe2, (long)ends, O_CLOEXEC | O_NONBLOCK).OrThrow("pipe2", "contents of pipes");
        }

        public int ReadEnd => _ends[0];

        public int WriteEnd => _ends[1];

        public void Resize(int capacity)
        {
            if (capacity == _capacity) return;
            Sys.Fcntl(WriteEnd, F_SETPIPE_SZ, capacity).OrThrow("fcntl(F_SETPIPE_SZ)", "contents of pipes");
            _capacity = capacity;
        }

        public void Dispose()
        {
            Sys.Close(ReadEnd);
            Sys.Close(WriteEnd);
        }
    }
}
