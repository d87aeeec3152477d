using System.Buffers.Binary;
using System.Net;
using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using Google.Protobuf.Collections;

namespace CriuPmem.Engine.Resources;

/// <summary>TCP servers, unconnected TCP sockets and UDP sockets, IPv4 and IPv6 (tcp(7), udp(7)).</summary>
/// <remarks>
/// An established TCP connection is refused, or comes back closed (--tcp-close). Unread datagrams come back where they can
/// (<see cref="DatagramInjector"/>); UDP may lose them at any time.
/// </remarks>
internal sealed class InetSocket : FileKind
{
    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Inetsk;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) =>
        file.Link.StartsWith("socket:[", StringComparison.Ordinal) && Sys.Option(file.Copy(), SOL_SOCKET, SO_DOMAIN) is AF_INET or AF_INET6;

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        int fd = file.Copy();
        var socket = new InetSkEntry
        {
            Id = file.Id,
            Ino = (uint)file.Stat.st_ino,
            Family = (uint)Sys.Option(fd, SOL_SOCKET, SO_DOMAIN),
            Type = (uint)Sys.Option(fd, SOL_SOCKET, SO_TYPE),
            Proto = (uint)Sys.Option(fd, SOL_SOCKET, SO_PROTOCOL),
            State = TCP_CLOSE,
            Backlog = 0,
            Flags = file.Flags,
            Fown = file.Owner(),
            Opts = SocketOptions.Dump(file),
            NsId = context.Tree.Root.Ids.NetNsId,
        };
        if (socket.Proto is not (IPPROTO_TCP or IPPROTO_UDP or IPPROTO_UDPLITE))
        {
            throw file.Fail(ErrorCode.UnsupportedFile, $"sockets of protocol {socket.Proto} cannot be saved yet", "Let the program close it");
        }

        byte[]? peer = Sys.SocketName(fd, peer: true);
        bool closes = false;
        if (socket.Proto == IPPROTO_TCP) closes = DumpTcp(context, file, fd, socket);
        else if (peer is not null) socket.State = TCP_ESTABLISHED;
        SetAddress(file, closes ? null : Sys.SocketName(fd, peer: false), socket, socket.SrcAddr, port => socket.SrcPort = port);
        SetAddress(file, socket.State == TCP_ESTABLISHED ? peer : null, socket, socket.DstAddr, port => socket.DstPort = port);
        InetOptions.Dump(file, fd, socket, closes);
        context.Multicast.Dump(file, fd, socket);
        if (socket.Proto != IPPROTO_TCP) DatagramQueue.Dump(context, file, fd, socket);
        entry.Isk = socket;
    }

    /// <inheritdoc />
    public override int Restore(RestoreContext context, FileEntry entry)
    {
        InetSkEntry socket = entry.Isk;
        string what = Describe(socket);
        if (socket.Proto == IPPROTO_TCP && socket.State is not (TCP_CLOSE or TCP_LISTEN) && !context.Options.TcpClose)
        {
            throw new CheckpointException(ErrorCode.NeedsTcpOption, "an established TCP connection cannot be restored yet") { Object = what, Remedy = "Give --tcp-close, which brings it back closed" };
        }

        bool bound = (socket.SrcPort != 0 || socket.SrcAddr.Any(word => word != 0)) && (socket.Proto != IPPROTO_TCP || socket.State is TCP_CLOSE or TCP_LISTEN);
        int fd = (int)Sys.Socket((int)socket.Family, (int)socket.Type, (int)socket.Proto).OrThrow("socket", what);
        try
        {
            DatagramInjector.Restore(context, fd, socket, what);
            InetOptions.RestoreBeforeBind(fd, socket, what);
            MulticastGroups.Restore(fd, socket, what);
            if (bound) Bind(fd, socket, what);
            if (socket.Proto != IPPROTO_TCP && socket.State == TCP_ESTABLISHED) Sys.Connect(fd, Address(socket, socket.DstAddr, socket.DstPort)).OrThrow("connect", what);
            if (socket.Proto == IPPROTO_TCP && socket.State == TCP_LISTEN) Sys.Listen(fd, (int)socket.Backlog).OrThrow("listen", what);
            InetOptions.Restore(fd, socket, what);
            if (socket.HasShutdown && socket.Shutdown != SkShutdown.None) Sys.Shutdown(fd, (int)socket.Shutdown - 1);
            Sys.Fcntl(fd, F_SETFL, socket.Flags & O_NONBLOCK).OrThrow("fcntl(F_SETFL)", what);
            context.RestoreOwner(fd, socket.Fown, socket.Flags);
            return fd;
        }
        catch
        {
            Sys.Close(fd);
            throw;
        }
    }

    /// <summary>State and backlog; true for a connection that is to be closed.</summary>
    private static bool DumpTcp(DumpContext context, OpenFile file, int fd, InetSkEntry socket)
    {
        Span<byte> info = stackalloc byte[32]; // the beginning of struct tcp_info
        Sys.GetOption(fd, IPPROTO_TCP, TCP_INFO, info, out _).OrThrow("getsockopt(TCP_INFO)", file.ToString());
        socket.State = info[0];
        if (socket.State == TCP_CLOSE) return false;
        if (socket.State == TCP_LISTEN)
        {
            // Of a listening socket these two fields are the length of its queue and the limit of it.
            uint waiting = BinaryPrimitives.ReadUInt32LittleEndian(info[24..]);
            socket.Backlog = BinaryPrimitives.ReadUInt32LittleEndian(info[28..]);
            if (waiting == 0) return false;
            throw file.Fail(ErrorCode.InFlight, $"{waiting} connections wait to be accepted, and cannot be saved", "Try again when the program has accepted them");
        }

        if (!context.Options.TcpClose)
        {
            throw file.Fail(ErrorCode.NeedsTcpOption, "it is an established TCP connection, which cannot be saved yet", "Give --tcp-close, which brings it back closed, or let the program close it");
        }

        socket.State = TCP_CLOSE;
        return true;
    }

    private static void SetAddress(OpenFile file, byte[]? address, InetSkEntry socket, RepeatedField<uint> words, Action<uint> setPort)
    {
        int count = socket.Family == AF_INET ? 1 : 4;
        setPort(address is null ? 0u : BinaryPrimitives.ReadUInt16BigEndian(address.AsSpan(2)));
        ReadOnlySpan<byte> bytes = address is null ? new byte[16] : address.AsSpan(socket.Family == AF_INET ? 4 : 8);
        foreach (uint word in MemoryMarshal.Cast<byte, uint>(bytes[..(count * 4)])) words.Add(word);
        if (socket.Family != AF_INET6 || address is null || BinaryPrimitives.ReadUInt32LittleEndian(address.AsSpan(24)) == 0) return;
        throw file.Fail(ErrorCode.UnsupportedFile, "a link-local address with a scope cannot be saved yet", "Let the program bind another address");
    }

    private static void Bind(int fd, InetSkEntry socket, string what)
    {
        SysResult bound = Sys.Bind(fd, Address(socket, socket.SrcAddr, socket.SrcPort));
        if (!bound.Failed) return;
        throw new CheckpointException(
            bound.Errno == Errno.EADDRINUSE ? ErrorCode.NameTaken : ErrorCode.SystemCall,
            bound.Errno == Errno.EADDRNOTAVAIL ? "its address is no longer one of this machine" : "its address cannot be bound")
        {
            Object = what,
            Errno = bound.Errno,
            Remedy = bound.Errno == Errno.EADDRINUSE ? "End the program that has the port" : "Give the machine that address again",
        };
    }

    private static byte[] Address(InetSkEntry socket, RepeatedField<uint> words, uint port)
    {
        bool four = socket.Family == AF_INET;
        var address = new byte[four ? 16 : 28];
        BinaryPrimitives.WriteUInt16LittleEndian(address, (ushort)socket.Family);
        BinaryPrimitives.WriteUInt16BigEndian(address.AsSpan(2), (ushort)port);
        for (int i = 0; i < words.Count; i++) BinaryPrimitives.WriteUInt32LittleEndian(address.AsSpan((four ? 4 : 8) + i * 4), words[i]);
        return address;
    }

    private static string Describe(InetSkEntry socket)
    {
        byte[] bytes = MemoryMarshal.AsBytes<uint>(socket.SrcAddr.ToArray()).ToArray();
        string address = bytes.Length is 4 or 16 ? new IPAddress(bytes).ToString() : "?";
        return $"{(socket.Proto == IPPROTO_TCP ? "TCP" : "UDP")} socket {(socket.Family == AF_INET6 ? $"[{address}]" : address)}:{socket.SrcPort}";
    }
}
