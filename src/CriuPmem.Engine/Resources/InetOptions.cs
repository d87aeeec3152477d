using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Options of IP sockets (ip(7), ipv6(7), tcp(7), udp(7)): those of the format, and all others that differ from a new socket's.</summary>
internal static class InetOptions
{
    // Numbers of options with an int as their value that can be read back and set again.
    private static readonly (int Level, int[] Names)[] s_plain =
    [
        // IP_TOS, TTL, RECVOPTS, MTU_DISCOVER, RECVERR, RECVTTL, RECVTOS, TRANSPARENT, ORIGDSTADDR, MINTTL, NODEFRAG,
        // CHECKSUM, BIND_ADDRESS_NO_PORT, RECVFRAGSIZE, MULTICAST_TTL, MULTICAST_LOOP, MULTICAST_ALL, UNICAST_IF
        (IPPROTO_IP, [1, 2, 6, 10, 11, 12, 13, 19, 20, 21, 22, 23, 24, 25, 33, 34, 49, 50]),
        // IPV6_UNICAST_HOPS, MULTICAST_IF, _HOPS, _LOOP, MTU_DISCOVER, RECVERR, RECVPKTINFO, RECVHOPLIMIT, RECVRTHDR,
        // RECVHOPOPTS, RECVDSTOPTS, RECVTCLASS, TCLASS, AUTOFLOWLABEL, MINHOPCOUNT, TRANSPARENT, FREEBIND
        (IPPROTO_IPV6, [16, 17, 18, 19, 23, 25, 49, 51, 56, 53, 58, 66, 67, 70, 73, 75, 78]),
        // TCP_SYNCNT, LINGER2, DEFER_ACCEPT, WINDOW_CLAMP, QUICKACK, USER_TIMEOUT, FASTOPEN, NOTSENT_LOWAT
        (IPPROTO_TCP, [7, 8, 9, 10, 12, 18, 23, 25]),
        // UDP_CORK, NO_CHECK6_TX, NO_CHECK6_RX, SEGMENT, GRO
        (IPPROTO_UDP, [1, 101, 102, 103, 104]),
    ];

    /// <summary>Reads them.</summary>
    public static void Dump(int fd, InetSkEntry socket)
    {
        if (socket.Family == AF_INET6) socket.V6Only = Sys.Option(fd, IPPROTO_IPV6, IPV6_V6ONLY) != 0;
        socket.IpOpts = new IpOptsEntry();
        if (Sys.Option(fd, IPPROTO_IP, IP_FREEBIND) != 0) socket.IpOpts.Freebind = true;
        if (socket.Family == AF_INET)
        {
            if (Sys.Option(fd, IPPROTO_IP, IP_PKTINFO) != 0) socket.IpOpts.Pktinfo = true;
            if (Sys.Option(fd, IPPROTO_IP, IP_TOS) is not 0 and int tos) socket.IpOpts.Tos = (uint)tos;
            socket.IpOpts.Ttl = (uint)Sys.Option(fd, IPPROTO_IP, IP_TTL);
        }

        socket.TcpOpts = new TcpOptsEntry();
        if (socket.Proto == IPPROTO_TCP)
        {
            if (Sys.Option(fd, IPPROTO_TCP, TCP_CORK) != 0) socket.TcpOpts.Cork = true;
            if (Sys.Option(fd, IPPROTO_TCP, TCP_NODELAY) != 0) socket.TcpOpts.Nodelay = true;
            socket.TcpOpts.Keepcnt = (uint)Sys.Option(fd, IPPROTO_TCP, TCP_KEEPCNT);
            socket.TcpOpts.Keepidle = (uint)Sys.Option(fd, IPPROTO_TCP, TCP_KEEPIDLE);
            socket.TcpOpts.Keepintvl = (uint)Sys.Option(fd, IPPROTO_TCP, TCP_KEEPINTVL);
        }

        using var fresh = new OwnedFd((int)Sys.Socket((int)socket.Family, (int)socket.Type, (int)socket.Proto).OrThrow("socket", "a socket to compare with"));
        foreach ((int level, int[] names) in s_plain)
        {
            if ((level is IPPROTO_TCP or IPPROTO_UDP && level != socket.Proto) || (level == IPPROTO_IPV6 && socket.Family != AF_INET6)) continue;
            foreach (int name in names)
            {
                if (Sys.GetOption(fd, level, name, out int value).Failed || Sys.GetOption(fresh.Fd, level, name, out int other).Failed || value == other) continue;
                socket.MoreOpts.Add(new SocketOptionEntry { Level = level, Name = name, Value = value });
            }
        }
    }

    /// <summary>Sets what must be set before an address is bound.</summary>
    public static void RestoreBeforeBind(int fd, InetSkEntry socket, string what)
    {
        // Old connections to the port, which may linger, shall not hinder; the program's own value comes afterwards.
        Sys.SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1).OrThrow("setsockopt(SO_REUSEADDR)", what);
        if (socket.Opts.SoReuseport) Sys.SetOption(fd, SOL_SOCKET, SO_REUSEPORT, 1).OrThrow("setsockopt(SO_REUSEPORT)", what);
        if (socket.HasV6Only) Sys.SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, socket.V6Only ? 1 : 0).OrThrow("setsockopt(IPV6_V6ONLY)", what);
        if (socket.IpOpts is { Freebind: true }) Sys.SetOption(fd, IPPROTO_IP, IP_FREEBIND, 1).OrThrow("setsockopt(IP_FREEBIND)", what);
        if (socket.Opts.SoBoundDev.Length != 0) Sys.SetOption(fd, SOL_SOCKET, SO_BINDTODEVICE, LinuxText.Encode(socket.Opts.SoBoundDev)).OrThrow("setsockopt(SO_BINDTODEVICE)", what);
        foreach (SocketOptionEntry option in socket.MoreOpts)
        {
            Sys.SetOption(fd, option.Level, option.Name, option.Value).OrThrow($"setsockopt({option.Level}, {option.Name})", what);
        }
    }

    /// <summary>Sets the rest.</summary>
    public static void Restore(int fd, InetSkEntry socket, string what)
    {
        SocketOptions.Restore(fd, socket.Opts, what);
        Sys.SetOption(fd, SOL_SOCKET, SO_REUSEADDR, socket.Opts.Reuseaddr ? 1 : 0).OrThrow("setsockopt(SO_REUSEADDR)", what);
        if (socket.IpOpts is { } ip)
        {
            if (ip.Pktinfo) Set(IPPROTO_IP, IP_PKTINFO, 1);
            if (ip.HasTos) Set(IPPROTO_IP, IP_TOS, (int)ip.Tos);
            if (ip.HasTtl && socket.Family == AF_INET) Set(IPPROTO_IP, IP_TTL, (int)ip.Ttl);
        }

        if (socket.Proto != IPPROTO_TCP || socket.TcpOpts is not { } tcp) return;
        if (tcp.HasKeepidle) Set(IPPROTO_TCP, TCP_KEEPIDLE, (int)tcp.Keepidle);
        if (tcp.HasKeepintvl) Set(IPPROTO_TCP, TCP_KEEPINTVL, (int)tcp.Keepintvl);
        if (tcp.HasKeepcnt) Set(IPPROTO_TCP, TCP_KEEPCNT, (int)tcp.Keepcnt);
        if (tcp.Nodelay) Set(IPPROTO_TCP, TCP_NODELAY, 1);
        if (tcp.Cork) Set(IPPROTO_TCP, TCP_CORK, 1);

        void Set(int level, int name, int value) => Sys.SetOption(fd, level, name, value).OrThrow($"setsockopt({level}, {name})", what);
    }
}
