using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>sock_diag(7): which sockets there are in this network namespace, and what they are connected to.</summary>
internal static class SocketDiagnosis
{
    private const int NETLINK_SOCK_DIAG = 4, SOCK_DIAG_BY_FAMILY = 20, NLM_F_REQUEST_DUMP = 0x301, NLMSG_ERROR = 2, NLMSG_DONE = 3;
    private const int HeaderBytes = 16, UnixMessageBytes = 16;
    private const int UNIX_DIAG_NAME = 0, UNIX_DIAG_VFS = 1, UNIX_DIAG_PEER = 2, UNIX_DIAG_ICONS = 3, UNIX_DIAG_RQLEN = 4, UNIX_DIAG_SHUTDOWN = 6;

    /// <summary>Every UNIX socket, by inode.</summary>
    public static Dictionary<uint, UnixSocketInfo> Unix()
    {
        Span<byte> request = stackalloc byte[24]; // struct unix_diag_req: family, protocol, pad, states, inode, show, cookie
        request.Clear();
        request[0] = AF_UNIX;
        request[4..8].Fill(0xFF);
        request[12] = 0x1F; // UDIAG_SHOW_NAME, _VFS, _PEER, _ICONS, _RQLEN
        var sockets = new Dictionary<uint, UnixSocketInfo>();
        Dump(request, message =>
        {
            UnixSocketInfo socket = ParseUnix(message);
            sockets[socket.Inode] = socket;
        });
        return sockets;
    }

    /// <summary>Reads one struct unix_diag_msg and its attributes.</summary>
    internal static UnixSocketInfo ParseUnix(ReadOnlySpan<byte> message)
    {
        var socket = new UnixSocketInfo { Type = message[1], State = message[2], Inode = BinaryPrimitives.ReadUInt32LittleEndian(message[4..]) };
        for (ReadOnlySpan<byte> rest = message[UnixMessageBytes..]; rest.Length >= 4;)
        {
            int length = BinaryPrimitives.ReadUInt16LittleEndian(rest), type = BinaryPrimitives.ReadUInt16LittleEndian(rest[2..]);
            if (length < 4 || length > rest.Length) break;
            ReadOnlySpan<byte> value = rest[4..length];
            socket = type switch
            {
                UNIX_DIAG_NAME => socket with { Name = value.ToArray() },
                UNIX_DIAG_VFS when value.Length >= 8 => socket with { FileInode = Word(value, 0), FileDevice = Word(value, 1) },
                UNIX_DIAG_PEER when value.Length >= 4 => socket with { Peer = Word(value, 0) },
                UNIX_DIAG_ICONS => socket with { Waiting = MemoryMarshal.Cast<byte, uint>(value).ToArray() },
                UNIX_DIAG_RQLEN when value.Length >= 8 => socket with { ReceiveQueue = Word(value, 0), WriteQueue = Word(value, 1) },
                UNIX_DIAG_SHUTDOWN when value.Length >= 1 => socket with { Shutdown = value[0] },
                _ => socket,
            };
            rest = rest[Math.Min((length + 3) & ~3, rest.Length)..];
        }

        return socket;
    }

    private static uint Word(ReadOnlySpan<byte> value, int index) => BinaryPrimitives.ReadUInt32LittleEndian(value[(index * 4)..]);

    private delegate void Visit(ReadOnlySpan<byte> message);

    /// <summary>Sends a request and visits the body of every message of the answer.</summary>
    private static void Dump(ReadOnlySpan<byte> request, Visit visit)
    {
        using var netlink = new OwnedFd((int)Sys.Socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG).OrThrow("socket", "sock_diag"));
        var message = new byte[HeaderBytes + request.Length];
        BinaryPrimitives.WriteInt32LittleEndian(message, message.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(message.AsSpan(4), SOCK_DIAG_BY_FAMILY);
        BinaryPrimitives.WriteUInt16LittleEndian(message.AsSpan(6), NLM_F_REQUEST_DUMP);
        request.CopyTo(message.AsSpan(HeaderBytes));
        Sys.SendMessage(netlink.Fd, message, default, default, 0).OrThrow("sendmsg", "sock_diag");
        var buffer = new byte[64 << 10];
        for (; ; )
        {
            int received = (int)Sys.Read(netlink.Fd, buffer).OrThrow("read", "sock_diag");
            for (ReadOnlySpan<byte> rest = buffer.AsSpan(0, received); rest.Length >= HeaderBytes;)
            {
                int length = BinaryPrimitives.ReadInt32LittleEndian(rest), type = BinaryPrimitives.ReadUInt16LittleEndian(rest[4..]);
                if (length < HeaderBytes || length > rest.Length) return;
                if (type == NLMSG_DONE) return;
                if (type == NLMSG_ERROR) new SysResult(BinaryPrimitives.ReadInt32LittleEndian(rest[HeaderBytes..])).OrThrow("asking for sockets", "sock_diag");
                visit(rest[HeaderBytes..length]);
                rest = rest[Math.Min((length + 3) & ~3, rest.Length)..];
            }
        }
    }
}
