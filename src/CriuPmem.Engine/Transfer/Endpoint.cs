using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace CriuPmem.Engine.Transfer;

/// <summary>Makes connections (tcp(7)).</summary>
internal static class Endpoint
{
    private const int ConnectMs = 10_000, LookAtSignalsEveryMs = 200;
    private const int TCP_NODELAY = 1, TCP_KEEPIDLE = 4, TCP_KEEPINTVL = 5, TCP_KEEPCNT = 6, TCP_USER_TIMEOUT = 18, IPV6_V6ONLY = 26;
    private const int UnansweredMs = 120_000, QuietSeconds = 20, ProbeSeconds = 5, Probes = 4;

    /// <summary>Connects to an engine that listens.</summary>
    /// <param name="options">Where it is.</param>
    /// <param name="role">What it is: "page server".</param>
    /// <exception cref="CheckpointException">Nobody listens there, or the way is blocked.</exception>
    public static ByteChannel Connect(RemoteOptions options, string role)
    {
        TlsTrust? trust = Trust(options);
        SocketChannel channel = options.Socket >= 0 ? new SocketChannel(options.Socket, $"the {role} at descriptor {options.Socket}") : ConnectSocket(options, role);
        return trust is null ? channel : TlsChannel.Secure(channel, trust, options.Address ?? "localhost");
    }

    /// <summary>Reads what a secure connection needs, so that what is missing refuses before anything is done; null when none is wanted.</summary>
    public static TlsTrust? Trust(RemoteOptions options) => options.Tls is { } tls ? new TlsTrust(tls) : null;

    /// <summary>The other side of a connection that was handed to a server.</summary>
    public static ByteChannel Adopt(RemoteOptions options, string role, TlsTrust? trust)
    {
        var channel = new SocketChannel(options.Socket, $"the {role} at descriptor {options.Socket}");
        return trust is null ? channel : TlsChannel.Secure(channel, trust, serverName: null);
    }

    private static SocketChannel ConnectSocket(RemoteOptions options, string role)
    {
        string peer = $"{role} at {options.Address}, port {options.Port}";
        Errno errno = Errno.None;
        foreach (IPAddress address in Resolve(options.Address!))
        {
            byte[] name = SocketAddress(address, options.Port);
            int socket = (int)Sys.Socket(name[0], SOCK_STREAM | SOCK_NONBLOCK).OrThrow("socket", peer);
            errno = TryConnect(socket, name);
            if (errno == Errno.None)
            {
                Prepare(socket);
                return new SocketChannel(socket, "the " + peer);
            }

            Sys.Close(socket);
        }

        throw new CheckpointException(ErrorCode.NoConnection, $"no connection to a {role} can be made")
        {
            Object = $"{options.Address}, port {options.Port}",
            Errno = errno,
            Remedy = errno == Errno.ECONNREFUSED ? $"Start the {role} there first, and give the port that it listens at with --port."
                : "Look at --address and --port, and for a firewall between the machines.",
        };
    }

    /// <summary>Listens; the caller owns the socket.</summary>
    /// <param name="options">Where; the port is written into it when the kernel chose one.</param>
    /// <exception cref="CheckpointException">The port is in use, or the address is not this machine's.</exception>
    public static OwnedFd Listen(RemoteOptions options)
    {
        IPAddress address = options.Address is null ? Anywhere() : Resolve(options.Address)[0];
        byte[] name = SocketAddress(address, options.Port);
        var socket = new OwnedFd((int)Sys.Socket(name[0], SOCK_STREAM | SOCK_NONBLOCK).OrThrow("socket", "the page server"));
        try
        {
            Sys.SetOption(socket.Fd, SOL_SOCKET, SO_REUSEADDR, 1);
            if (name[0] == AF_INET6) Sys.SetOption(socket.Fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
            SysResult bound = Sys.Bind(socket.Fd, name);
            if (!bound.Failed) bound = Sys.Listen(socket.Fd, 1);
            if (bound.Failed) throw CannotListen(options, bound.Errno);
            if (options.Port == 0) options.Port = BinaryPrimitives.ReadUInt16BigEndian(Sys.SocketName(socket.Fd, peer: false).AsSpan(2));
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Waits for the first connection.</summary>
    /// <param name="listener">A socket that listens.</param>
    /// <param name="role">What comes: "client".</param>
    /// <param name="trust">What a secure connection needs; null when it is left open.</param>
    public static ByteChannel Accept(OwnedFd listener, string role, TlsTrust? trust)
    {
        SocketChannel channel = AcceptSocket(listener, role);
        return trust is null ? channel : TlsChannel.Secure(channel, trust, serverName: null);
    }

    private static SocketChannel AcceptSocket(OwnedFd listener, string role)
    {
        while (true)
        {
            SysResult accepted = Sys.Accept(listener.Fd);
            if (!accepted.Failed)
            {
                Prepare(accepted.Value);
                return new SocketChannel(accepted.Value, $"the {role} at {NameOf(accepted.Value)}");
            }

            if (accepted.Errno is not (Errno.EAGAIN or Errno.EINTR or Errno.ECONNABORTED)) accepted.OrThrow("accept", role);
            Sys.Poll(listener.Fd, POLLIN, LookAtSignalsEveryMs);
            Interruption.Check();
        }
    }

    /// <summary>The kernel's struct sockaddr_in or sockaddr_in6.</summary>
    internal static byte[] SocketAddress(IPAddress address, int port)
    {
        bool is6 = address.AddressFamily == AddressFamily.InterNetworkV6;
        var name = new byte[is6 ? 28 : 16];
        name[0] = (byte)(is6 ? AF_INET6 : AF_INET);
        BinaryPrimitives.WriteUInt16BigEndian(name.AsSpan(2), (ushort)port);
        address.GetAddressBytes().CopyTo(name, is6 ? 8 : 4);
        if (is6) BinaryPrimitives.WriteUInt32LittleEndian(name.AsSpan(24), (uint)address.ScopeId);
        return name;
    }

    private static IPAddress Anywhere()
    {
        SysResult six = Sys.Socket(AF_INET6, SOCK_STREAM);
        if (six.Failed) return IPAddress.Any;
        Sys.Close(six.Value);
        return IPAddress.IPv6Any;
    }

    private static IPAddress[] Resolve(string host)
    {
        if (IPAddress.TryParse(host, out IPAddress? address)) return [address];
        try
        {
            IPAddress[] found = Dns.GetHostAddresses(host);
            if (found.Length > 0) return found;
        }
        catch (SocketException)
        {
            // Told below.
        }

        throw new CheckpointException(ErrorCode.NoConnection, "this is no address, and no host is known by the name") { Object = host, Remedy = "Look at --address." };
    }

    private static Errno TryConnect(int socket, byte[] name)
    {
        SysResult connected = Sys.Connect(socket, name);
        for (int waited = 0; connected.Errno is Errno.EINPROGRESS or Errno.EINTR; waited += LookAtSignalsEveryMs)
        {
            if (Sys.Poll(socket, POLLOUT, LookAtSignalsEveryMs) != 0) return (Errno)Sys.Option(socket, SOL_SOCKET, SO_ERROR);
            Interruption.Check();
            if (waited >= ConnectMs) return Errno.ETIMEDOUT;
        }

        return connected.Errno;
    }

    /// <summary>Small messages go out at once; a machine that is gone is noticed, even one that says nothing any more.</summary>
    private static void Prepare(int socket)
    {
        Sys.SetOption(socket, IPPROTO_TCP, TCP_NODELAY, 1);
        Sys.SetOption(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
        Sys.SetOption(socket, IPPROTO_TCP, TCP_KEEPIDLE, QuietSeconds);
        Sys.SetOption(socket, IPPROTO_TCP, TCP_KEEPINTVL, ProbeSeconds);
        Sys.SetOption(socket, IPPROTO_TCP, TCP_KEEPCNT, Probes);
        Sys.SetOption(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, UnansweredMs);
    }

    private static string NameOf(int socket)
    {
        byte[] name = Sys.SocketName(socket, peer: true) ?? [];
        if (name.Length >= 28 && name[0] == AF_INET6)
        {
            var address = new IPAddress(name.AsSpan(8, 16));
            return $"{(address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address)}, port {BinaryPrimitives.ReadUInt16BigEndian(name.AsSpan(2))}";
        }

        return name.Length >= 16 ? $"{new IPAddress(name.AsSpan(4, 4))}, port {BinaryPrimitives.ReadUInt16BigEndian(name.AsSpan(2))}" : "an unknown address";
    }

    private static CheckpointException CannotListen(RemoteOptions options, Errno errno) =>
        new(errno == Errno.EADDRINUSE ? ErrorCode.NameTaken : ErrorCode.NoConnection, errno == Errno.EADDRINUSE ? "the port is in use" : "nothing can listen there")
        {
            Object = $"{options.Address ?? "every address"}, port {options.Port}",
            Errno = errno,
            Remedy = errno switch
            {
                Errno.EADDRINUSE => "Give another one with --port; ss -ltnp tells who has it.",
                Errno.EADDRNOTAVAIL => "The address is not one of this machine's: look at --address.",
                Errno.EACCES => "Ports below 1024 are root's: give another one with --port.",
                _ => "Look at --address and --port.",
            },
        };
}
