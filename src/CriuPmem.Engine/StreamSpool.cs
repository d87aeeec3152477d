using CriuPmem.Images;

namespace CriuPmem.Engine;

/// <summary>A directory in memory, that nobody else sees, for the images of a snapshot that comes or goes as a stream (--stream).</summary>
/// <remarks>
/// Whatever ends this process, nothing of it is left. Standard input or output belongs to the stream alone from the beginning on: nothing else
/// that is started, or printed, can mix with it.
/// </remarks>
public sealed class StreamSpool : IDisposable
{
    private const int StandardInput = 0, StandardOutput = 1, StandardError = 2, FirstFree = 10;
    private const string Name = "the stream";

    private readonly OwnedFd _directory;
    private readonly OwnedFd _stream;

    private StreamSpool(OwnedFd directory, OwnedFd stream)
    {
        _directory = directory;
        _stream = stream;
    }

    /// <summary>Takes standard output for a dump; what else is printed there goes to standard error.</summary>
    /// <exception cref="CheckpointException">It is a terminal, or there can be no such directory.</exception>
    public static StreamSpool ForDump(DumpOptions options)
    {
        StreamSpool spool = Take(StandardOutput, StandardError);
        options.StreamFd = spool._stream.Fd;
        options.Sync = false; // it is in memory
        spool.Fill(options);
        return spool;
    }

    /// <summary>Reads the whole of standard input for a restore.</summary>
    /// <exception cref="CheckpointException">It is damaged or cut, and nothing was restored.</exception>
    public static StreamSpool ForRestore(RestoreOptions options)
    {
        using OwnedFd nothing = Sys.OpenOrThrow(AT_FDCWD, "/dev/null", O_RDONLY);
        StreamSpool spool = Take(StandardInput, nothing.Fd);
        try
        {
            var receiver = new SnapshotReceiver(spool._stream.Fd);
            receiver.Receive(spool._directory.Fd);
            options.Log.Info("stream", $"{receiver.ReceivedBytes >> 10} KiB read");
            spool.Fill(options);
            return spool;
        }
        catch
        {
            spool.Dispose();
            throw;
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _directory.Dispose();
        _stream.Dispose();
    }

    private static unsafe StreamSpool Take(int standard, int replacement)
    {
        byte* termios = stackalloc byte[64];
        if (!Sys.Ioctl(standard, 0x5401 /* TCGETS */, (long)termios).Failed)
        {
            throw new CheckpointException(ErrorCode.Usage, standard == StandardOutput ? "standard output is a terminal, and the snapshot would be written there" : "standard input is a terminal, where no snapshot comes from")
            {
                Remedy = "Write dump --stream | … restore --stream, or redirect it to or from a file.",
            };
        }

        SysResult directory = Sys.PrivateTmpfs();
        if (directory.Failed) throw new CheckpointException(ErrorCode.NotPermitted, "no directory in memory can be made for the images of a stream") { Errno = directory.Errno, Remedy = "Run it as root (CAP_SYS_ADMIN), or use a directory of your own: -D without --stream." };
        var spool = new OwnedFd(directory.Value);
        SysResult stream = Sys.Fcntl(standard, F_DUPFD_CLOEXEC, FirstFree);
        if (stream.Failed)
        {
            spool.Dispose();
            throw new CheckpointException(ErrorCode.StreamBroken, standard == StandardOutput ? "standard output is closed" : "standard input is closed") { Errno = stream.Errno };
        }

        Sys.Dup3(replacement, standard, 0);
        return new StreamSpool(spool, new OwnedFd(stream.Value));
    }

    private void Fill(CommonOptions options)
    {
        options.ImagesDirectoryFd = _directory.Fd;
        options.ImagesDirectory = Name;
    }
}
