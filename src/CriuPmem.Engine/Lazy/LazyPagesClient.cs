namespace CriuPmem.Engine.Lazy;

/// <summary>A restore's side of <see cref="LazyPagesSocket"/>: hands its processes to a daemon.</summary>
internal sealed class LazyPagesClient : IDisposable
{
    private const int LookAtSignalsEveryMs = 200, LookAtItEveryMicroseconds = 500;

    private readonly OwnedFd _socket;
    private readonly int _timeoutSeconds;

    private LazyPagesClient(OwnedFd socket, int timeoutSeconds) => (_socket, _timeoutSeconds) = (socket, timeoutSeconds);

    /// <summary>Connects to the daemon that waits in the work directory.</summary>
    /// <param name="workDirectoryFd">The work directory.</param>
    /// <param name="timeoutSeconds">How long it is waited for; 0 for ever (--timeout).</param>
    /// <exception cref="CheckpointException">There is none.</exception>
    public static LazyPagesClient Connect(int workDirectoryFd, int timeoutSeconds)
    {
        var socket = new OwnedFd((int)Sys.Socket(AF_UNIX, SOCK_STREAM).OrThrow("socket", LazyPagesSocket.Name));
        Sys.SetOption(socket.Fd, SOL_SOCKET, SO_SNDTIMEO, (0L, LookAtSignalsEveryMs * 1000L));
        var client = new LazyPagesClient(socket, timeoutSeconds);
        SysResult connected;
        try
        {
            connected = client.Patiently(() => Sys.Connect(socket.Fd, LazyPagesSocket.Address(workDirectoryFd)));
        }
        catch (CheckpointException)
        {
            socket.Dispose();
            throw;
        }

        if (!connected.Failed)
        {
            // Whoever gets a userfaultfd can put anything into the program's memory.
            Sys.GetOption(socket.Fd, SOL_SOCKET, SO_PEERCRED, out (uint Pid, uint Uid, uint Gid) daemon).OrThrow("getsockopt(SO_PEERCRED)", LazyPagesSocket.Name);
            if (daemon.Uid == 0 || daemon.Uid == Sys.GetEffectiveUid()) return client;
            socket.Dispose();
            throw new CheckpointException(ErrorCode.NoConnection, $"the lazy-pages daemon in the work directory belongs to another user ({daemon.Uid}), who could change the program's memory")
            {
                Object = LazyPagesSocket.Name,
                Remedy = "Use a work directory (-W) that nobody else can write to, and start criu-pmem lazy-pages there as the user who restores.",
            };
        }

        socket.Dispose();
        throw new CheckpointException(ErrorCode.NoConnection, "no lazy-pages daemon waits in the work directory")
        {
            Object = LazyPagesSocket.Name,
            Errno = connected.Errno,
            Remedy = "Start criu-pmem lazy-pages with the same -D and -W first; or restore with --lazy, which needs none.",
        };
    }

    /// <summary>Hands over a process.</summary>
    public void Send(int pid, int userfaultfd)
    {
        Must(Patiently(() => LazyPagesSocket.Send(_socket.Fd, (uint)pid)));
        Must(Patiently(() => LazyPagesSocket.SendDescriptor(_socket.Fd, pid, userfaultfd)));
    }

    /// <summary>Tells of a process that has no memory.</summary>
    public void SendZombie(int pid) => Must(Patiently(() => LazyPagesSocket.Send(_socket.Fd, (uint)-pid)));

    /// <summary>Waits until the daemon has received what was sent: nothing comes back that would tell so.</summary>
    /// <exception cref="CheckpointException">It is gone, or does not.</exception>
    public void AwaitReceived()
    {
        Patiently(() =>
        {
            Require();
            if (LazyPagesSocket.Unreceived(_socket.Fd).Raw <= 0) return default; // or the kernel does not tell
            Sys.SleepMicroseconds(LookAtItEveryMicroseconds);
            return new SysResult(-(long)Errno.EAGAIN);
        });
    }

    /// <summary>The tree is about to run: its memory may come.</summary>
    /// <exception cref="CheckpointException">The daemon is gone, and with it the memory; or it does not answer.</exception>
    public void Finish()
    {
        Require();
        Must(Patiently(() => LazyPagesSocket.Send(_socket.Fd, LazyPagesSocket.Finished)));
    }

    /// <summary>What is said when the daemon has ended; null when it is there. The tree's processes are gone by now.</summary>
    public CheckpointException? WhenEnded()
    {
        const int patienceMs = 2000; // its guardian, which has the connection too, waits for the end of those processes first
        return (Sys.Poll(_socket.Fd, POLLRDHUP, patienceMs) & (POLLRDHUP | POLLHUP | POLLERR)) == 0 ? null : Ended(Errno.None);
    }

    /// <inheritdoc />
    public void Dispose() => _socket.Dispose();

    /// <summary>What is said when it does not answer.</summary>
    public CheckpointException Silent() => new(ErrorCode.TimedOut, $"the lazy-pages daemon{Describe()} did not answer within {_timeoutSeconds} s; nothing of the tree is left")
    {
        Object = LazyPagesSocket.Name,
        Remedy = "Look at that process, and at its log (it may be stopped, or wait for its page server); start it anew, or raise --timeout.",
    };

    private string Describe()
    {
        SysResult asked = Sys.GetOption(_socket.Fd, SOL_SOCKET, SO_PEERCRED, out (int Pid, uint Uid, uint Gid) daemon);
        return asked.Failed || daemon.Pid == 0 ? "" : $" (process {daemon.Pid})";
    }

    /// <summary>Repeats what would have to wait, until the time is up.</summary>
    private SysResult Patiently(Func<SysResult> call)
    {
        var watch = new StopwatchLap();
        while (true)
        {
            SysResult result = call();
            if (result.Errno is not (Errno.EAGAIN or Errno.EINTR)) return result;
            Interruption.Check();
            if (_timeoutSeconds > 0 && watch.Total > _timeoutSeconds * 1_000_000L) throw Silent();
        }
    }

    private void Require()
    {
        const short gone = POLLERR | POLLHUP;
        if ((Sys.Poll(_socket.Fd, POLLIN, 0) & gone) != 0) throw Ended(Errno.None);
    }

    private static void Must(SysResult sent)
    {
        if (sent.Failed) throw Ended(sent.Errno);
    }

    private static CheckpointException Ended(Errno errno) => new(ErrorCode.ConnectionLost, "the lazy-pages daemon ended while the tree was restored, and the tree with it: its memory could not be filled any more")
    {
        Object = LazyPagesSocket.Name,
        Errno = errno,
        Remedy = "Its own message, and its log, tell why; start it anew, if the memory is still to be had, and restore again.",
    };
}
