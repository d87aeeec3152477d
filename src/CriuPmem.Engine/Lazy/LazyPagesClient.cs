namespace CriuPmem.Engine.Lazy;

/// <summary>A restore's side of <see cref="LazyPagesSocket"/>: hands its processes to a daemon.</summary>
internal sealed class LazyPagesClient : IDisposable
{
    private readonly OwnedFd _socket;

    private LazyPagesClient(OwnedFd socket) => _socket = socket;

    /// <summary>Connects to the daemon that waits in the work directory.</summary>
    /// <exception cref="CheckpointException">There is none.</exception>
    public static LazyPagesClient Connect(int workDirectoryFd)
    {
        var socket = new OwnedFd((int)Sys.Socket(AF_UNIX, SOCK_STREAM).OrThrow("socket", LazyPagesSocket.Name));
        SysResult connected = Sys.Connect(socket.Fd, LazyPagesSocket.Address(workDirectoryFd));
        if (!connected.Failed)
        {
            // Whoever gets a userfaultfd can put anything into the program's memory.
            Sys.GetOption(socket.Fd, SOL_SOCKET, SO_PEERCRED, out (uint Pid, uint Uid, uint Gid) daemon).OrThrow("getsockopt(SO_PEERCRED)", LazyPagesSocket.Name);
            if (daemon.Uid == 0 || daemon.Uid == Sys.GetEffectiveUid()) return new LazyPagesClient(socket);
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
        if (LazyPagesSocket.Send(_socket.Fd, pid, userfaultfd) is { Failed: true } failed) throw Ended(failed.Errno);
    }

    /// <summary>Tells of a process that has no memory.</summary>
    public void SendZombie(int pid)
    {
        if (LazyPagesSocket.SendZombie(_socket.Fd, pid) is { Failed: true } failed) throw Ended(failed.Errno);
    }

    /// <summary>The tree is about to run: its memory may come.</summary>
    /// <exception cref="CheckpointException">The daemon is gone, and with it the memory.</exception>
    public void Finish()
    {
        const short gone = POLLERR | POLLHUP;
        if ((Sys.Poll(_socket.Fd, POLLIN, 0) & gone) != 0) throw Ended(Errno.None);
        if (Sys.Send(_socket.Fd, BitConverter.GetBytes(LazyPagesSocket.Finished), 0) is { Failed: true } failed) throw Ended(failed.Errno);
    }

    /// <summary>What is said when the daemon has ended; null when it is there. The tree's processes are gone by now.</summary>
    public CheckpointException? WhenEnded()
    {
        const int patienceMs = 2000; // its guardian, which has the connection too, waits for the end of those processes first
        return (Sys.Poll(_socket.Fd, POLLRDHUP, patienceMs) & (POLLRDHUP | POLLHUP | POLLERR)) == 0 ? null : Ended(Errno.None);
    }

    /// <inheritdoc />
    public void Dispose() => _socket.Dispose();

    private static CheckpointException Ended(Errno errno) => new(ErrorCode.ConnectionLost, "the lazy-pages daemon ended while the tree was restored, and the tree with it: its memory could not be filled any more")
    {
        Object = LazyPagesSocket.Name,
        Errno = errno,
        Remedy = "Its own message, and its log, tell why; start it anew, if the memory is still to be had, and restore again.",
    };
}
