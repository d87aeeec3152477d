using CriuPmem.Engine.Dump;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.Engine.Resources;

/// <summary>Options of IP sockets (ip(7), ipv6(7), tcp(7), udp(7)): those of the format, and all others that differ from a new socket's.</summary>
internal static class InetOptions
{
    private const int TCP_MAXSEG = 2, TCP_ULP = 31;

    // Numbers of options with an int as their value that can be read back and set again.
    private static readonly (int Level, int[] Names)[] s_plain =
    [
        // IP_TOS, TTL, RECVOPTS, MTU_DISCOVER, RECVERR, RECVTTL, RECVTOS, TRANSPARENT, ORIGDSTADDR, MINTTL, NODEFRAG,
        // CHECKSUM, BIND_ADDRESS_NO_PORT, RECVFRAGSIZE, MULTICAST_TTL, MULTICAST_LOOP, MULTICAST_ALL, UNICAST_IF; RETOPTS,
        // PASSSEC, RECVERR_RFC4884, MULTICAST_IF (an address; an interface set by its number cannot be read), LOCAL_PORT_RANGE
        (IPPROTO_IP, [1, 2, 6, 10, 11, 12, 13, 19, 20, 21, 22, 23, 24, 25, 33, 34, 49, 50, 7, 18, 26, 32, 51]),
        // IPV6_UNICAST_HOPS, MULTICAST_IF, _HOPS, _LOOP, MTU_DISCOVER, RECVERR, RECVPKTINFO, RECVHOPLIMIT, RECVRTHDR,
        // RECVHOPOPTS, RECVDSTOPTS, RECVTCLASS, TCLASS, AUTOFLOWLABEL, MINHOPCOUNT, TRANSPARENT, FREEBIND; 2292PKTINFO,
        // 2292HOPOPTS, 2292DSTOPTS, 2292RTHDR, 2292HOPLIMIT, FLOWINFO, MULTICAST_ALL, RECVERR_RFC4884, FLOWINFO_SEND,
        // RECVPATHMTU, DONTFRAG, ADDR_PREFERENCES, RECVORIGDSTADDR, UNICAST_IF, RECVFRAGSIZE
        (IPPROTO_IPV6, [16, 17, 18, 19, 23, 25, 49, 51, 56, 53, 58, 66, 67, 70, 73, 75, 78, 2, 3, 4, 5, 8, 11, 29, 31, 33, 60, 62, 72, 74, 76, 77]),
        // TCP_SYNCNT, LINGER2, DEFER_ACCEPT, WINDOW_CLAMP, QUICKACK, USER_TIMEOUT, FASTOPEN, NOTSENT_LOWAT; MAXSEG,
        // THIN_LINEAR_TIMEOUTS, THIN_DUPACK, SAVE_SYN, FASTOPEN_CONNECT, FASTOPEN_NO_COOKIE, INQ, TX_DELAY, RTO_MAX_MS,
        // RTO_MIN_US, DELACK_MAX_US
        (IPPROTO_TCP, [7, 8, 9, 10, 12, 18, 23, 25, 2, 16, 17, 27, 30, 34, 36, 37, 44, 45, 46]),
        // UDP_CORK, NO_CHECK6_TX, NO_CHECK6_RX, SEGMENT, GRO; ENCAP
        (IPPROTO_UDP, [1, 101, 102, 103, 104, 100]),
        // UDPLITE_SEND_CSCOV, RECV_CSCOV
        (IPPROTO_UDPLITE, [10, 11]),
        // SO_TXREHASH
        (SOL_SOCKET, [74]),
    ];

    // Those whose value is no number: IP_OPTIONS; IPV6_HOPOPTS, RTHDRDSTOPTS, RTHDR, DSTOPTS; TCP_CONGESTION.
    private static readonly (int Level, int[] Names)[] s_variable = [(IPPROTO_IP, [4]), (IPPROTO_IPV6, [54, 55, 57, 59]), (IPPROTO_TCP, [13])];

    /// <summary>Reads them.</summary>
    /// <param name="file">The socket.</param>
    /// <param name="fd">The engine's copy of its descriptor.</param>
    /// <param name="socket">Filled in.</param>
    /// <param name="closes">It is a connection that comes back closed.</param>
    public static void Dump(OpenFile file, int fd, InetSkEntry socket, bool closes)
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
        DumpVariable(file, fd, fresh.Fd, socket);
        foreach ((int level, int[] names) in s_plain)
        {
            if (!Has(socket, level)) continue;
            foreach (int name in names)
            {
                // Of a connection TCP_MAXSEG tells what it uses, not what the program has set.
                if (closes && level == IPPROTO_TCP && name == TCP_MAXSEG) continue;
                if (Sys.GetOption(fd, level, name, out int value).Failed || Sys.GetOption(fresh.Fd, level, name, out int other).Failed || value == other) continue;
                socket.MoreOpts.Add(new SocketOptionEntry { Level = level, Name = name, Value = value });
            }
        }
    }

    private static bool Has(InetSkEntry socket, int level) => level switch
    {
        IPPROTO_TCP or IPPROTO_UDP or IPPROTO_UDPLITE => level == socket.Proto,
        IPPROTO_IPV6 => socket.Family == AF_INET6,
        _ => true,
    };

    private static void DumpVariable(OpenFile file, int fd, int fresh, InetSkEntry socket)
    {
        Span<byte> value = stackalloc byte[256];
        Span<byte> other = stackalloc byte[256];
        foreach ((int level, int[] names) in s_variable)
        {
            if (!Has(socket, level)) continue;
            foreach (int name in names)
            {
                other.Clear();
                if (Sys.GetOption(fd, level, name, value, out int length).Failed || length == 0) continue;
                if (!Sys.GetOption(fresh, level, name, other, out int otherLength).Failed && value[..length].SequenceEqual(other[..otherLength])) continue;
                socket.MoreOpts.Add(new SocketOptionEntry { Level = level, Name = name, Value = 0, Content = ByteString.CopyFrom(value[..length]) });
            }
        }

        if (socket.Proto != IPPROTO_TCP || Sys.GetOption(fd, IPPROTO_TCP, TCP_ULP, value, out int ulp).Failed || ulp == 0) return;
        throw file.Fail(
            ErrorCode.UnsupportedFile, $"the kernel works on what it carries (TCP_ULP {LinuxText.Decode(value[..ulp].TrimEnd((byte)0))}), which cannot be saved yet",
            "Let the program close it");
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
        SocketOptions.RestoreMore(fd, socket.MoreOpts, what);
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
