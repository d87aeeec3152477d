using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Makes all UNIX sockets of the images again, connects them, and fills their queues.</summary>
/// <remarks>
/// Order: servers listen; datagram sockets are bound and then connected; connections are made, those with a server's name
/// through a server of that name; clients that wait to be accepted come last, then those of servers outside of the tree. A connection is made by the process that
/// made it first, as long as that is in the tree: SO_PEERCRED tells who it was.
/// </remarks>
internal sealed class UnixSocketMaker : IDisposable
{
    private readonly RestoreContext _context;
    private readonly UnixSkEntry[] _sockets;
    private readonly Dictionary<uint, UnixSkEntry> _byInode;
    private readonly Dictionary<uint, UnixSkEntry> _outside; // by inode: ends of connections that no process of the tree has
    private readonly Dictionary<uint, int> _files = []; // inode → O_PATH descriptor of the file that it is bound to
    private readonly Dictionary<(uint Type, (uint Pid, uint Uid, uint Gid) Maker), Queue<(int First, int Second)>> _pairs = [];
    private readonly Dictionary<uint, int> _others = []; // inode → the other end, where that is not in the tree

    private UnixSocketMaker(RestoreContext context)
    {
        _context = context;
        UnixSkEntry[] all = [.. context.Files.OfType(FdTypes.Unixsk).Select(entry => entry.Usk)];
        _outside = all.Where(UnixSocket.IsOutside).ToDictionary(socket => socket.Ino);
        // What the user gave in a socket's place is connected, bound and set as it is.
        _sockets = [.. all.Where(socket => !UnixSocket.IsOutside(socket) && !context.Files.IsOpen(socket.Id))];
        _byInode = _sockets.ToDictionary(socket => socket.Ino);
    }

    /// <summary>Makes them; every process of the tree must exist, with no descriptor but the transport.</summary>
    public static void MakeAll(RestoreContext context)
    {
        using var maker = new UnixSocketMaker(context);
        if (maker._sockets.Length == 0) return;
        maker.Make();
        maker.FillQueues();
        // A connected datagram socket takes messages of its peer alone: hence after its queue is filled.
        foreach (UnixSkEntry socket in maker._sockets.Where(socket => maker.ServerOf(socket) is not null)) maker.ConnectOutside(socket);
        foreach (UnixSkEntry socket in maker._sockets) maker.Settle(socket);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (int fd in _files.Values) Sys.Close(fd);
        foreach (int fd in _others.Values) Sys.Close(fd);
        foreach ((int first, int second) in _pairs.Values.SelectMany(pairs => pairs))
        {
            Sys.Close(first);
            Sys.Close(second);
        }
    }

    private int Fd(UnixSkEntry socket) => _context.Files.Open(socket.Id);

    private static bool Connects(UnixSkEntry socket) => socket.Type != SOCK_DGRAM && socket.State == TCP_ESTABLISHED;

    /// <summary>The socket outside of the tree to which this one was connected, or null.</summary>
    private UnixSkEntry? ServerOf(UnixSkEntry socket) => _outside.GetValueOrDefault(socket.Peer);

    private UnixSkEntry? PeerOf(UnixSkEntry socket) => socket.Peer == 0 || _outside.ContainsKey(socket.Peer) ? null : _byInode.GetValueOrDefault(socket.Peer) ?? throw new CheckpointException(
        ErrorCode.ExternalPeer, "its other end is outside of the snapshot")
    {
        Object = $"{UnixSocket.Describe(socket.Name)} ({socket.Ino})",
    };

    private void Make()
    {
        MakePairs();
        foreach (UnixSkEntry socket in _sockets.Where(socket => socket.State == TCP_LISTEN))
        {
            int fd = Bound(socket, socket.Deleted);
            using SocketCreator helper = Creator(socket);
            helper.Listen(fd, (int)socket.Backlog);
            _context.Files.Put(socket.Id, fd);
        }

        foreach (UnixSkEntry socket in _sockets.Where(socket => socket.State != TCP_LISTEN && (!Connects(socket) || ServerOf(socket) is not null))) MakeLoose(socket);
        foreach (UnixSkEntry socket in _sockets.Where(socket => socket.Type == SOCK_DGRAM && PeerOf(socket) is not null)) ConnectDatagram(socket);
        foreach (UnixSkEntry socket in _sockets.Where(socket => Connects(socket) && ServerOf(socket) is null && PeerOf(socket)?.State != TCP_LISTEN)) MakeConnection(socket);
        foreach (UnixSkEntry socket in _sockets.Where(socket => Connects(socket) && PeerOf(socket)?.State == TCP_LISTEN))
        {
            int fd = Bound(socket, socket.Deleted);
            Connect(socket, fd, PeerOf(socket)!, Creator(socket));
            _context.Files.Put(socket.Id, fd);
        }
    }

    private int Bound(UnixSkEntry socket, bool apart)
    {
        int fd = (int)Sys.Socket(AF_UNIX, (int)socket.Type).OrThrow("socket", UnixSocket.Describe(socket.Name));
        BindName(socket, fd, apart);
        return fd;
    }

    private void BindName(UnixSkEntry socket, int fd, bool apart)
    {
        if (socket.Name.Length == 0) return;
        int file = SocketAddress.Bind(_context, socket, fd, apart);
        if (file >= 0) _files[socket.Ino] = file;
    }

    /// <summary>Who made the connection; the peer's images do not tell, and then it is the first that has the socket open.</summary>
    private (uint Pid, uint Uid, uint Gid) MakerOf(UnixSkEntry socket) =>
        socket.HasPeerPid ? (socket.PeerPid, socket.PeerUid, socket.PeerGid) : (FirstWith(socket.Id), 0, 0);

    private SocketCreator Creator(UnixSkEntry socket)
    {
        (uint pid, uint uid, uint gid) = MakerOf(socket);
        return new SocketCreator(_context, pid, uid, gid);
    }

    private uint FirstWith(uint file) => (uint)(_context.Processes.Find(
        process => process.Ids is { } ids && _context.Contents.Fdinfos.TryGetValue(ids.FilesId, out IReadOnlyList<FdinfoEntry>? table) &&
            table.Any(descriptor => descriptor.Id == file))?.Pid ?? 0);

    /// <summary>Makes all pairs ahead, those of one process in one go.</summary>
    private void MakePairs()
    {
        var done = new HashSet<uint>();
        var wanted = new Dictionary<(uint, (uint, uint, uint)), int>();
        foreach (UnixSkEntry socket in _sockets)
        {
            if (!IsPair(socket) || !done.Add(socket.Ino)) continue;
            done.Add(socket.Peer);
            var key = (socket.Type, MakerOf(socket));
            wanted[key] = wanted.GetValueOrDefault(key) + 1;
        }

        foreach (((uint type, (uint pid, uint uid, uint gid)) key, int count) in wanted)
        {
            var pairs = new (int, int)[count];
            using (var creator = new SocketCreator(_context, key.Item2.pid, key.Item2.uid, key.Item2.gid)) creator.Pairs((int)key.type, pairs);
            _pairs.Add(key, new Queue<(int, int)>(pairs));
        }
    }

    /// <summary>True for an end of what socketpair(2) makes, or of what cannot be told from it.</summary>
    private bool IsPair(UnixSkEntry socket)
    {
        if (socket.State == TCP_LISTEN || ServerOf(socket) is not null) return false;
        UnixSkEntry? peer = PeerOf(socket);
        if (!Connects(socket)) return (peer is not null && peer.Peer == socket.Ino) || socket.PeerGone;
        return peer?.State != TCP_LISTEN && !IsServerEnd(socket) && (peer is null || !IsServerEnd(peer));
    }

    private (int First, int Second) TakePair(UnixSkEntry socket) => _pairs[(socket.Type, MakerOf(socket))].Dequeue();

    /// <summary>Sockets without a connection, and datagram sockets, pairs among them.</summary>
    private void MakeLoose(UnixSkEntry socket)
    {
        if (_context.Files.IsOpen(socket.Id)) return;
        UnixSkEntry? peer = PeerOf(socket);
        if (IsPair(socket))
        {
            (int first, int second) = TakePair(socket);
            BindName(socket, first, socket.Deleted);
            _context.Files.Put(socket.Id, first);
            if (peer is null || peer == socket)
            {
                _others[socket.Ino] = second;
                return;
            }

            BindName(peer, second, peer.Deleted);
            _context.Files.Put(peer.Id, second);
            return;
        }

        _context.Files.Put(socket.Id, Bound(socket, socket.Deleted));
    }

    private void ConnectDatagram(UnixSkEntry socket)
    {
        UnixSkEntry peer = PeerOf(socket)!;
        if (peer.Peer == socket.Ino) return; // a pair
        using SocketCreator creator = Creator(socket);
        Connect(socket, Fd(socket), peer, creator);
    }

    private void Connect(UnixSkEntry socket, int fd, UnixSkEntry to, SocketCreator creator)
    {
        string what = $"{UnixSocket.Describe(socket.Name)} ({socket.Ino}) to {UnixSocket.Describe(to.Name)}";
        if (to.Name.Length == 0) throw new CheckpointException(ErrorCode.ImageUnsupported, "it is connected to a socket without a name that is connected elsewhere") { Object = what };
        creator.Connect(fd, SocketAddress.Of(to.Name.Span), _files.GetValueOrDefault(to.Ino, -1), what);
    }

    /// <summary>Connects to a server outside of the tree, by the name that it had.</summary>
    private void ConnectOutside(UnixSkEntry socket)
    {
        UnixSkEntry server = ServerOf(socket)!;
        string given = $"--inherit-fd 'fd[N]:socket[{socket.Ino}]'", what = $"{UnixSocket.Describe(socket.Name)} ({socket.Ino})";
        if (server.Name.Length == 0)
        {
            throw new CheckpointException(ErrorCode.ExternalPeer, "it was connected to a socket without a name, outside of the snapshot, and the restore was given nothing in its place")
            {
                Object = what,
                Remedy = $"Give a connected socket: {given}",
            };
        }

        int fd = Fd(socket);
        // A server whose queue is full must not hold the restore up.
        Sys.Fcntl(fd, F_SETFL, O_NONBLOCK).OrThrow("fcntl(F_SETFL)", what);
        using SocketCreator creator = Creator(socket);
        SysResult connected = creator.TryConnect(fd, SocketAddress.Of(server.Name.Span));
        if (!connected.Failed) return;
        throw new CheckpointException(ErrorCode.ExternalPeer, $"it was connected to {UnixSocket.Describe(server.Name)} outside of the snapshot, and cannot be again")
        {
            Object = what,
            Errno = connected.Errno,
            Remedy = $"Start the server first, or give a connected socket: {given}",
        };
    }

    /// <summary>A connection whose ends are both made now; the other end of one that was closed serves to fill the queue.</summary>
    private void MakeConnection(UnixSkEntry socket)
    {
        if (_context.Files.IsOpen(socket.Id)) return;
        UnixSkEntry? peer = PeerOf(socket);
        bool serves = IsServerEnd(socket);
        if (IsPair(socket))
        {
            (int first, int second) = TakePair(socket);
            BindName(socket, first, socket.Deleted);
            if (peer is not null) BindName(peer, second, peer.Deleted);
            Put(socket, first, peer, second);
            return;
        }

        UnixSkEntry? server = serves ? socket : peer, client = serves ? peer : socket;
        UnixSkEntry listener = _sockets.FirstOrDefault(other => other.State == TCP_LISTEN && other.Type == socket.Type && other.Name.Equals(server!.Name)) ?? server!;
        int temporary = -1;
        if (listener == server)
        {
            // The server has closed its listening socket: one of the same name, for a moment, seen by nobody.
            temporary = Bound(server!, apart: true);
            using SocketCreator listening = Creator(client ?? server!);
            listening.Listen(temporary, 1);
        }

        int clientFd = client is null ? (int)Sys.Socket(AF_UNIX, (int)socket.Type).OrThrow("socket", "UNIX socket") : Bound(client, client.Deleted);
        using (SocketCreator connecting = Creator(server!)) Connect(client ?? server!, clientFd, listener, connecting);
        int serverFd = (int)Sys.Accept(temporary >= 0 ? temporary : Fd(listener)).OrThrow("accept", UnixSocket.Describe(server!.Name));
        if (temporary >= 0) Sys.Close(temporary);
        Put(server!, serverFd, client, clientFd);
    }

    private void Put(UnixSkEntry socket, int fd, UnixSkEntry? peer, int peerFd)
    {
        _context.Files.Put(socket.Id, fd);
        if (peer is null) _others[socket.Ino] = peerFd;
        else _context.Files.Put(peer.Id, peerFd);
    }

    /// <summary>An accepted socket has its server's name; a client may have bound one, which is its own alone.</summary>
    private bool IsServerEnd(UnixSkEntry socket)
    {
        if (socket.Name.Length == 0) return false;
        if (_sockets.Any(other => other != socket && other.Type == socket.Type && other.Name.Equals(socket.Name))) return true;
        UnixSkEntry? peer = PeerOf(socket);
        return peer is null || peer.Name.Length == 0;
    }

    private void FillQueues()
    {
        using Images.ImageReader? image = _context.Reader.OpenIfPresent(Images.ImageKind.SkQueues);
        if (image is null) return;
        while (image.TryRead(SkPacketEntry.Parser, out SkPacketEntry? packet))
        {
            byte[] data = image.ReadRaw(packet.Length).ToArray();
            UnixSkEntry? socket = _context.Files.Entry(packet.IdFor).Usk;
            if (socket is null) continue;
            if (!_byInode.ContainsKey(socket.Ino) || (ServerOf(socket) is not null && (socket.Type != SOCK_DGRAM || socket.Name.Length == 0)))
            {
                _context.Log.Warn("files", $"{UnixSocket.Describe(socket.Name)} ({socket.Ino}): {packet.Length} unread bytes from outside of the snapshot are lost");
                continue;
            }

            SocketFiller.Send(_context, SenderFor(socket, packet, out byte[] address), packet, data, address);
        }
    }

    private int SenderFor(UnixSkEntry receiver, SkPacketEntry packet, out byte[] address)
    {
        address = [];
        UnixSkEntry? peer = PeerOf(receiver);
        if (receiver.Type != SOCK_DGRAM || (peer is not null && peer.Peer == receiver.Ino) || receiver.PeerGone)
        {
            return peer is not null ? Fd(peer) : _others[receiver.Ino];
        }

        UnixSkEntry? sender = packet.Sender.Length == 0 ? null : Array.Find(_sockets, other => other.Type == SOCK_DGRAM && other.Name.Equals(packet.Sender));
        sender ??= Array.Find(_sockets, other => other.Peer == receiver.Ino);
        if (sender is null || sender.Peer != receiver.Ino)
        {
            address = _files.TryGetValue(receiver.Ino, out int file) ? SocketAddress.OfDescriptor(file) : SocketAddress.Of(receiver.Name.Span);
        }

        if (sender is not null) return Fd(sender);
        if (_others.TryGetValue(receiver.Ino, out int other)) return other;
        other = (int)Sys.Socket(AF_UNIX, SOCK_DGRAM).OrThrow("socket", "UNIX socket");
        _others.Add(receiver.Ino, other);
        return other;
    }

    private void Settle(UnixSkEntry socket)
    {
        int fd = Fd(socket);
        string what = UnixSocket.Describe(socket.Name);
        // Closing the other end does it for a connection that was half gone.
        if (_others.Remove(socket.Ino, out int other)) Sys.Close(other);
        if (socket.HasShutdown && socket.Shutdown != SkShutdown.None) Sys.Shutdown(fd, (int)socket.Shutdown - 1);
        SocketOptions.Restore(fd, socket.Opts, what);
        Sys.Fcntl(fd, F_SETFL, socket.Flags & (O_NONBLOCK | O_APPEND | O_NOATIME | O_DIRECT)).OrThrow("fcntl(F_SETFL)", what);
        _context.RestoreOwner(fd, socket.Fown, socket.Flags);
    }
}
