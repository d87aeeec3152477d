using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.Engine.Resources;

/// <summary>Datagrams that a UDP socket has received and its program has not read (udp(7)).</summary>
/// <remarks>They are looked at with MSG_PEEK at SO_PEEK_OFF (socket(7)), which is put back: nothing of the queue is taken.</remarks>
internal static class DatagramQueue
{
    private const int LargestBytes = 1 << 16, ControlBytes = 512, MostDatagrams = 1 << 20, SendPatienceMilliseconds = 50;
    private const int IP_TTL_RECEIVED = 2, IP_TOS_RECEIVED = 1, IPV6_PKTINFO = 50, IPV6_HOPLIMIT = 52, IPV6_TCLASS = 67, UDP_GRO = 104;

    /// <summary>Notes what is unread.</summary>
    /// <exception cref="CheckpointException">It has begun a datagram and not sent it.</exception>
    public static void Dump(DumpContext context, OpenFile file, int fd, InetSkEntry socket)
    {
        CheckSent(file, fd);
        int ready = Sys.Poll(fd, (short)(POLLIN | POLLERR), 0);
        if ((ready & POLLERR) != 0) context.Log.Warn("files", $"{file.Process}, {file}: errors that it has not been told of yet are lost");
        if ((ready & POLLIN) == 0) return;
        Peek(fd, file.ToString(), socket.Datagrams.Add);
    }

    /// <summary>How many bytes, and datagrams that are not empty, are there to be read: empty ones show only once.</summary>
    public static (int Datagrams, long Bytes) Count(int fd, string what)
    {
        int count = 0;
        long bytes = 0;
        Peek(fd, what, datagram =>
        {
            count += datagram.Data.Length == 0 ? 0 : 1;
            bytes += datagram.Data.Length;
        });
        return (count, bytes);
    }

    private static void Peek(int fd, string what, Action<DatagramEntry> found)
    {
        Sys.GetOption(fd, SOL_SOCKET, SO_PEEK_OFF, out int before).OrThrow("getsockopt(SO_PEEK_OFF)", what);
        byte[] buffer = new byte[LargestBytes];
        Span<byte> name = stackalloc byte[128];
        Span<byte> control = stackalloc byte[ControlBytes];
        try
        {
            int offset = 0;
            for (int i = 0; i < MostDatagrams; i++)
            {
                Sys.SetOption(fd, SOL_SOCKET, SO_PEEK_OFF, offset).OrThrow("setsockopt(SO_PEEK_OFF)", what);
                SysResult got = Sys.ReceiveMessage(fd, buffer, name, control, MSG_PEEK | MSG_DONTWAIT, out (int Name, int Control, int Flags) lengths);
                if (got.Failed && got.Errno is not Errno.EAGAIN) continue; // an error of an earlier send, told once
                if (got.Failed || lengths.Name == 0) break;
                foreach (DatagramEntry datagram in Split(buffer.AsSpan(0, got.Value), name[..lengths.Name], control[..lengths.Control])) found(datagram);
                offset += got.Value;
            }
        }
        finally
        {
            Sys.SetOption(fd, SOL_SOCKET, SO_PEEK_OFF, before);
        }
    }

    /// <summary>One datagram; several, where the kernel has put them together (UDP_GRO).</summary>
    private static List<DatagramEntry> Split(ReadOnlySpan<byte> data, ReadOnlySpan<byte> sender, ReadOnlySpan<byte> control)
    {
        var whole = new DatagramEntry { Sender = ByteString.CopyFrom(sender) };
        int piece = data.Length;
        while (control.Length >= 16)
        {
            int length = (int)MemoryMarshal.Read<long>(control), level = MemoryMarshal.Read<int>(control[8..]), type = MemoryMarshal.Read<int>(control[12..]);
            if (length < 16 || length > control.Length) break;
            ReadOnlySpan<byte> body = control[16..length];
            if ((level, type) is (IPPROTO_IP, IP_PKTINFO) && body.Length >= 12) whole.Destination = ByteString.CopyFrom(body.Slice(8, 4));
            else if ((level, type) is (IPPROTO_IPV6, IPV6_PKTINFO) && body.Length >= 20) whole.Destination = ByteString.CopyFrom(body[..16]);
            else if ((level, type) is (IPPROTO_IP, IP_TTL_RECEIVED) or (IPPROTO_IPV6, IPV6_HOPLIMIT) && body.Length >= 4) whole.Ttl = body[0];
            else if ((level, type) is (IPPROTO_IP, IP_TOS_RECEIVED) or (IPPROTO_IPV6, IPV6_TCLASS) && body.Length >= 1) whole.Tos = body[0];
            else if ((level, type) is (IPPROTO_UDP, UDP_GRO) && body.Length >= 4) piece = Math.Max(1, MemoryMarshal.Read<int>(body));
            control = control[Math.Min((length + 7) & ~7, control.Length)..];
        }

        var datagrams = new List<DatagramEntry>();
        for (int offset = 0; offset == 0 || offset < data.Length; offset += Math.Max(piece, 1))
        {
            DatagramEntry datagram = whole.Clone();
            datagram.Data = ByteString.CopyFrom(data.Slice(offset, Math.Min(piece, data.Length - offset)));
            datagrams.Add(datagram);
        }

        return datagrams;
    }

    /// <summary>What is kept back (MSG_MORE, UDP_CORK) cannot be seen but by its size; what waits for a network card is gone soon.</summary>
    private static void CheckSent(OpenFile file, int fd)
    {
        int unsent = 0;
        for (int waited = 0; waited < SendPatienceMilliseconds; waited++)
        {
            if (Sys.Ioctl(fd, SIOCOUTQ, ref unsent).Failed || unsent == 0) return;
            Sys.Poll(-1, 0, 1);
        }

        throw file.Fail(
            ErrorCode.InFlight, "it holds an unfinished datagram back (MSG_MORE, UDP_CORK), which cannot be saved",
            "Try again when the program has sent it");
    }
}
