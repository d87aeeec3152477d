using System.Buffers.Binary;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.Engine.Resources;

/// <summary>Gives a new UDP socket the datagrams back that it had not read, each with its own sender.</summary>
/// <remarks>
/// A raw socket (raw(7), IP_HDRINCL) may send under any address, and what it sends to a loopback address never leaves the
/// machine. So that nobody else can get it, the socket is for that moment bound to a port of its own, and then to none:
/// disconnecting (AF_UNSPEC) gives a port back that nobody asked for, and leaves the queue alone.
/// </remarks>
internal static class DatagramInjector
{
    private const int IPPROTO_RAW = 255, IPV6_HDRINCL = 36, LargeBufferBytes = 128 << 20, PatienceMilliseconds = 200;
    private const int HeaderBytes4 = 20, HeaderBytes6 = 40, UdpBytes = 8, DefaultTtl = 64;

    /// <summary>Fills the queue of a socket that is not bound yet; what cannot be given back is told in the log.</summary>
    public static void Restore(RestoreContext context, int fd, InetSkEntry socket, string what)
    {
        if (socket.Datagrams.Count == 0) return;
        int lost = socket.Datagrams.Count;
        if (socket.Proto == IPPROTO_UDP)
        {
            Sys.SetOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, LargeBufferBytes);
            if (socket.Family == AF_INET6) Sys.SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0).OrThrow("setsockopt(IPV6_V6ONLY)", what);
            var any = new byte[socket.Family == AF_INET6 ? 28 : 16];
            BinaryPrimitives.WriteUInt16LittleEndian(any, (ushort)socket.Family);
            Sys.Bind(fd, any).OrThrow("bind", what);
            ushort port = BinaryPrimitives.ReadUInt16BigEndian(Sys.SocketName(fd, peer: false).AsSpan(2));
            lost = Inject(socket, port);
            lost = Math.Max(lost, Missing(fd, socket, lost, what));
            Sys.Connect(fd, new byte[16]).OrThrow("connect(AF_UNSPEC)", what);
        }

        if (lost != 0) context.Log.Warn("files", $"{what}: {lost} of {socket.Datagrams.Count} unread datagrams are lost");
    }

    /// <summary>Sends all to a port; returns how many could not be sent.</summary>
    private static int Inject(InetSkEntry socket, ushort port)
    {
        // Without the right to have raw sockets (--unprivileged) all are lost, as UDP may lose them.
        SysResult four = Sys.Socket(AF_INET, SOCK_RAW, IPPROTO_RAW), six = Sys.Socket(AF_INET6, SOCK_RAW, IPPROTO_RAW);
        using var raw4 = new OwnedFd(four.Failed ? -1 : four.Value);
        using var raw6 = new OwnedFd(six.Failed || Sys.SetOption(six.Value, IPPROTO_IPV6, IPV6_HDRINCL, 1).Failed ? -1 : six.Value);
        int lost = 0;
        foreach (DatagramEntry datagram in socket.Datagrams)
        {
            if (!Send(raw4.Fd, raw6.Fd, datagram, port)) lost++;
        }

        return lost;
    }

    private static bool Send(int raw4, int raw6, DatagramEntry datagram, ushort port)
    {
        ReadOnlySpan<byte> sender = datagram.Sender.Span;
        if (sender.Length is not (16 or 28)) return false;
        bool six = sender.Length == 28;
        ReadOnlySpan<byte> address = six ? sender.Slice(8, 16) : sender.Slice(4, 4);
        ReadOnlySpan<byte> mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF];
        ushort fromPort = BinaryPrimitives.ReadUInt16BigEndian(sender[2..]);
        if (six && address.StartsWith(mapped)) return SendFour(raw4, datagram, address[12..], fromPort, port);
        // A link-local sender is told together with the interface it was heard on, which is another one now.
        if (six) return BinaryPrimitives.ReadUInt32LittleEndian(sender[24..]) == 0 && SendSix(raw6, datagram, address, fromPort, port);
        return SendFour(raw4, datagram, address, fromPort, port);
    }

    private static bool SendFour(int raw, DatagramEntry datagram, ReadOnlySpan<byte> sender, ushort fromPort, ushort port)
    {
        ReadOnlySpan<byte> told = datagram.Destination.Span;
        byte[] to = Local(told.Length == 16 ? told[12..] : told, [127, 0, 0, 1]);
        byte[] packet = new byte[HeaderBytes4 + UdpBytes + datagram.Data.Length]; // sum of the header and id: the kernel's
        packet[0] = 0x45;
        packet[1] = (byte)datagram.Tos;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(2), (ushort)packet.Length);
        packet[8] = (byte)(datagram.HasTtl ? datagram.Ttl : DefaultTtl);
        packet[9] = IPPROTO_UDP;
        sender.CopyTo(packet.AsSpan(12));
        to.AsSpan(4, 4).CopyTo(packet.AsSpan(16));
        Udp(packet.AsSpan(HeaderBytes4), datagram.Data, fromPort, port); // without a sum, which IPv4 allows
        return packet.Length <= ushort.MaxValue && !Sys.SendMessage(raw, packet, to, default, MSG_DONTWAIT).Failed;
    }

    private static bool SendSix(int raw, DatagramEntry datagram, ReadOnlySpan<byte> sender, ushort fromPort, ushort port)
    {
        byte[] to = Local(datagram.Destination.Span, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        byte[] packet = new byte[HeaderBytes6 + UdpBytes + datagram.Data.Length];
        int payload = packet.Length - HeaderBytes6;
        BinaryPrimitives.WriteUInt32BigEndian(packet, 6u << 28 | (datagram.Tos & 0xFF) << 20);
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(4), (ushort)payload);
        packet[6] = IPPROTO_UDP;
        packet[7] = (byte)(datagram.HasTtl ? datagram.Ttl : DefaultTtl);
        sender.CopyTo(packet.AsSpan(8));
        to.AsSpan(8, 16).CopyTo(packet.AsSpan(24));
        Udp(packet.AsSpan(HeaderBytes6), datagram.Data, fromPort, port);
        uint sum = (uint)(IPPROTO_UDP + payload);
        for (int i = 8; i < packet.Length; i += 2) sum += (uint)(packet[i] << 8 | (i + 1 < packet.Length ? packet[i + 1] : 0));
        while (sum >> 16 != 0) sum = (sum & 0xFFFF) + (sum >> 16);
        ushort check = (ushort)~sum;
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(HeaderBytes6 + 6), check == 0 ? (ushort)0xFFFF : check);
        return payload <= ushort.MaxValue && !Sys.SendMessage(raw, packet, to, default, MSG_DONTWAIT).Failed;
    }

    private static void Udp(Span<byte> header, ByteString data, ushort fromPort, ushort port)
    {
        BinaryPrimitives.WriteUInt16BigEndian(header, fromPort);
        BinaryPrimitives.WriteUInt16BigEndian(header[2..], port);
        BinaryPrimitives.WriteUInt16BigEndian(header[4..], (ushort)(UdpBytes + data.Length));
        data.Span.CopyTo(header[UdpBytes..]);
    }

    /// <summary>struct sockaddr of the address that the datagram came to, if that is still this machine's; else of the loopback.</summary>
    private static byte[] Local(ReadOnlySpan<byte> told, byte[] loopback)
    {
        bool six = loopback.Length == 16, multicast = told.Length != 0 && (six ? told[0] == 0xFF : told[0] >= 224);
        byte[] Address(ReadOnlySpan<byte> address)
        {
            var whole = new byte[six ? 28 : 16];
            BinaryPrimitives.WriteUInt16LittleEndian(whole, (ushort)(six ? AF_INET6 : AF_INET));
            address.CopyTo(whole.AsSpan(six ? 8 : 4));
            return whole;
        }

        if (told.Length != loopback.Length || multicast) return Address(loopback);
        byte[] wanted = Address(told);
        using var probe = new OwnedFd((int)Sys.Socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM).OrThrow("socket", "a socket to try an address"));
        return Sys.Bind(probe.Fd, wanted).Failed ? Address(loopback) : wanted;
    }

    /// <summary>How many are not there, of those that were sent. They come within the call that sends them, or a moment later.</summary>
    private static int Missing(int fd, InetSkEntry socket, int unsent, string what)
    {
        int wanted = socket.Datagrams.Count(datagram => datagram.Data.Length != 0) - unsent, missing = 0;
        for (int waited = 0; waited < PatienceMilliseconds; waited++)
        {
            missing = wanted - DatagramQueue.Count(fd, what).Datagrams;
            if (missing <= 0) return unsent;
            Sys.Poll(-1, 0, 1);
        }

        return unsent + missing;
    }
}
