using CriuPmem.Remote;

namespace CriuPmem.Engine.Restore;

/// <summary>Makes connections as the process, and with the user id, that SO_PEERCRED shall tell: as the engine itself when that process is not in the tree.</summary>
/// <remarks>The process must have no descriptor but the transport: what it receives lands at 0 and 1.</remarks>
internal sealed class SocketCreator : IDisposable
{
    private const int PairsPerRound = 250; // the process may have no more than 1,024 descriptors yet

    private readonly RestoreContext _context;
    private readonly RestoreProcess? _process;
    private readonly RemoteCalls? _calls;
    private readonly bool _otherUser;

    /// <summary>Becomes the process with a pid.</summary>
    public SocketCreator(RestoreContext context, uint pid, uint uid, uint gid)
    {
        _context = context;
        _process = context.Processes.Find(process => process.Pid == pid && !process.IsZombie);
        if (_process is null) return;
        _calls = new RemoteCalls(_process.Space, _process.Leader.Task);
        _otherUser = uid != 0 || gid != 0;
        if (!_otherUser) return;
        _calls.Must("setresgid", SyscallNumber.setresgid, -1, gid, -1);
        _calls.Must("setresuid", SyscallNumber.setresuid, -1, uid, -1);
        _calls.Flush();
    }

    /// <summary>socketpair(2), any number of times in few rounds.</summary>
    /// <param name="type">SOCK_….</param>
    /// <param name="pairs">Filled with descriptors of the engine's own.</param>
    public void Pairs(int type, Span<(int First, int Second)> pairs)
    {
        if (_process is null)
        {
            foreach (ref (int First, int Second) pair in pairs) Sys.SocketPair(type, out pair.First, out pair.Second).OrThrow("socketpair", "UNIX sockets");
            return;
        }

        using var pidfd = new OwnedFd((int)Sys.PidfdOpen(_process.Pid).OrThrow("pidfd_open", _process.ToString()));
        for (; !pairs.IsEmpty; pairs = pairs[Math.Min(pairs.Length, PairsPerRound)..]) Round(type, pairs[..Math.Min(pairs.Length, PairsPerRound)], pidfd.Fd);
    }

    private void Round(int type, Span<(int First, int Second)> pairs, int pidfd)
    {
        var made = new RemoteAddress[pairs.Length];
        for (int i = 0; i < pairs.Length; i++)
        {
            made[i] = _calls!.Batch.Reserve(8);
            _calls.Must("socketpair", SyscallNumber.socketpair, AF_UNIX, type | SOCK_CLOEXEC, 0, made[i]);
        }

        SyscallBatch batch = _calls!.RunAndKeep();
        for (int i = 0; i < pairs.Length; i++) pairs[i] = batch.At<(int, int)>(made[i]);
        batch.Clear();
        foreach (ref (int First, int Second) pair in pairs)
        {
            _calls.Must("close", SyscallNumber.close, pair.First);
            _calls.Must("close", SyscallNumber.close, pair.Second);
            pair = (Fetch(pidfd, pair.First), Fetch(pidfd, pair.Second));
        }

        _calls.Flush();
    }

    private int Fetch(int pidfd, int fd) => (int)Sys.PidfdGetFd(pidfd, fd).OrThrow("pidfd_getfd", _process!.ToString());

    /// <summary>listen(2).</summary>
    public void Listen(int fd, int backlog)
    {
        if (_process is null)
        {
            Sys.Listen(fd, backlog).OrThrow("listen", "UNIX socket");
            return;
        }

        Receive(fd);
        _calls!.Must("listen", SyscallNumber.listen, 0, backlog);
        _calls.Must("close", SyscallNumber.close, 0);
        _calls.Flush();
    }

    /// <summary>connect(2).</summary>
    /// <param name="fd">The socket.</param>
    /// <param name="address">Where to, when there is no <paramref name="file"/>.</param>
    /// <param name="file">An O_PATH descriptor of the server's file, or -1.</param>
    /// <param name="what">For messages.</param>
    public void Connect(int fd, byte[] address, int file, string what)
    {
        if (_process is null)
        {
            if (file >= 0) address = Resources.SocketAddress.OfDescriptor(file);
            Sys.Connect(fd, address).OrThrow("connect", what);
            return;
        }

        if (file >= 0)
        {
            Receive(fd, file);
            address = Resources.SocketAddress.OfDescriptor(1);
        }
        else
        {
            Receive(fd);
        }

        RemoteAddress target = _calls!.Batch.Data(address);
        _calls.Must($"connecting {what}", SyscallNumber.connect, 0, target, address.Length);
        if (file >= 0) _calls.Must("close", SyscallNumber.close, 1);
        _calls.Must("close", SyscallNumber.close, 0);
        _calls.Flush();
    }

    /// <summary>connect(2), which may fail.</summary>
    public SysResult TryConnect(int fd, byte[] address)
    {
        if (_process is null) return Sys.Connect(fd, address);
        Receive(fd);
        RemoteAddress target = _calls!.Batch.Data(address);
        int connect = _calls.Try(SyscallNumber.connect, 0, target, address.Length);
        _calls.Must("close", SyscallNumber.close, 0);
        SysResult result = _calls.RunAndKeep().Result(connect);
        _calls.Batch.Clear();
        return result;
    }

    /// <summary>Becomes root again.</summary>
    public void Dispose()
    {
        if (!_otherUser || _calls is null) return;
        _calls.Must("setresuid", SyscallNumber.setresuid, -1, 0, -1);
        _calls.Must("setresgid", SyscallNumber.setresgid, -1, 0, -1);
        _calls.Flush();
    }

    private void Receive(params ReadOnlySpan<int> fds) => _context.Transport.Pass(_calls!, fds);
}
