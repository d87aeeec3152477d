namespace CriuPmem.Engine.Lazy;

/// <summary>A daemon's side of <see cref="LazyPagesSocket"/>: takes over the processes of a restore.</summary>
/// <param name="connection">The connection; it is closed when the restore is finished.</param>
/// <param name="runsOf">What is to be filled of a process, by its saved number; null when no such process was saved.</param>
/// <param name="log">Where it tells of them.</param>
internal sealed class RestoreControl(int connection, Func<int, PagerRun[]?> runsOf, EngineLog log) : IPagerControl, IDisposable
{
    private const int MSG_WAITALL = 0x100;

    private readonly HashSet<int> _known = [];

    /// <inheritdoc />
    public int Fd { get; private set; } = connection;

    /// <inheritdoc />
    public bool MayStream => Fd < 0;

    /// <inheritdoc />
    public void Read(Pager pager)
    {
        Span<byte> word = stackalloc byte[sizeof(int)];
        SysResult received = Sys.Receive(Fd, word, MSG_WAITALL);
        if (received.Errno is Errno.EINTR or Errno.EAGAIN) return;
        if (received.Failed || received.Value != word.Length) throw Ended();
        uint pid = BitConverter.ToUInt32(word);
        if (pid == LazyPagesSocket.Finished)
        {
            log.Info("lazy", $"the restore of {_known.Count} processes is finished");
            Dispose();
            return;
        }

        if ((int)pid < 0) return; // a zombie: there is nothing to fill
        SysResult passed = LazyPagesSocket.Receive(Fd, out int userfaultfd, out int sender);
        if (passed.Failed || passed.Value == 0) throw Ended();
        if (pid == 0 || !_known.Add((int)pid) || !IsUserfaultfd(userfaultfd) || runsOf((int)pid) is not { } runs)
        {
            Sys.Close(userfaultfd);
            throw Wrong($"process {pid}");
        }

        // The pager looks whether there is anything to read by reading.
        Sys.Fcntl(userfaultfd, F_SETFL, O_RDWR | O_NONBLOCK);
        int here = Identify((int)pid, sender);
        if (here == 0) log.Warn("lazy", $"process {pid} cannot be told from here: if this daemon is killed, it may find zeros in its memory");
        pager.Add(userfaultfd, (int)pid, here, runs);
        log.Info("lazy", $"process {pid}: {runs.Sum(static run => (long)run.LengthBytes) >> 10} KiB to fill");
    }

    /// <inheritdoc />
    public void Dispose()
    {
        if (Fd >= 0) Sys.Close(Fd);
        Fd = -1;
    }

    /// <summary>The process's number here, which is another one when it lives in a pid namespace of its own; 0 when it cannot be told.</summary>
    private static int Identify(int pid, int sender)
    {
        using ProcDirectory? proc = sender == 0 ? null : ProcDirectory.TryOpen(sender);
        return proc?.Status() is { NamespacePids: [.., var own] } && own == pid ? sender : 0;
    }

    private static bool IsUserfaultfd(int fd) =>
        fd >= 0 && Sys.ReadLink(AT_FDCWD, $"/proc/self/fd/{fd}", out _) == "anon_inode:[userfaultfd]";

    private static CheckpointException Ended() => new(ErrorCode.ConnectionLost, "the restore ended before its tree ran")
    {
        Object = LazyPagesSocket.Name,
        Remedy = "Its own message tells why; start the daemon anew for the next one.",
    };

    private static CheckpointException Wrong(string what) => new(ErrorCode.WrongData, "a restore handed over what cannot be")
    {
        Object = $"{LazyPagesSocket.Name}, {what}",
        Remedy = "Give restore and lazy-pages the same images (-D).",
    };
}
