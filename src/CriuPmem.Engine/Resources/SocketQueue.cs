using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;

namespace CriuPmem.Engine.Resources;

/// <summary>Reads what lies in a UNIX socket's queue and leaves it there (MSG_PEEK with SO_PEEK_OFF, socket(7)).</summary>
internal static class SocketQueue
{
    private const int ControlBytes = 16 + SCM_MAX_FD * 4 + 64;
    private const int FirstBufferBytes = 256 << 10, MaxBufferBytes = 64 << 20;

    private static byte[] s_buffer = []; // used by the tracer's thread alone

    /// <summary>One message, or a stretch of a stream.</summary>
    /// <param name="Data">Its bytes.</param>
    /// <param name="Descriptors">Descriptors that travel with it, now also in the engine's table.</param>
    /// <param name="Sender">Who sent it, where the receiver asked for that.</param>
    /// <param name="Name">sun_path of the sending socket.</param>
    public sealed record Packet(byte[] Data, int[] Descriptors, (uint Pid, uint Uid, uint Gid)? Sender, byte[] Name);

    /// <summary>Everything in the queue, in order.</summary>
    public static List<Packet> Peek(OpenFile file, UnixSocketInfo socket)
    {
        var packets = new List<Packet>();
        // The count of a stream is that of its bytes, and nothing travels without one.
        if (socket.Type == SOCK_STREAM && socket.ReceiveQueue == 0) return packets;
        int fd = file.Copy();
        if (s_buffer.Length == 0) s_buffer = new byte[FirstBufferBytes];
        ref byte[] buffer = ref s_buffer;
        // Nothing there: the socket is not touched at all.
        if (Look(file, fd, buffer, out _) is null) return packets;
        Sys.GetOption(fd, SOL_SOCKET, SO_PEEK_OFF, out int before).OrThrow("getsockopt(SO_PEEK_OFF)", file.ToString());
        try
        {
            for (int offset = 0; ;)
            {
                Packet? packet = LookAt(file, fd, offset, ref buffer);
                if (packet is null || (packet.Data.Length == 0 && socket.Type != SOCK_DGRAM && (socket.Shutdown & 1) != 0)) break;
                if (socket.Type == SOCK_STREAM && packet.Data.Length == 0) break;
                if (socket.Type == SOCK_STREAM && packet.Descriptors.Length != 0 && packet.Data.Length > 1) Split(file, fd, offset, packet, packets);
                else packets.Add(packet);
                offset += packet.Data.Length;
            }
        }
        finally
        {
            Sys.SetOption(fd, SOL_SOCKET, SO_PEEK_OFF, before);
        }

        return packets;
    }

    /// <summary>One look at a stream gives the bytes before a message with descriptors together with that message.</summary>
    private static void Split(OpenFile file, int fd, int offset, Packet packet, List<Packet> packets)
    {
        Sys.SetOption(fd, SOL_SOCKET, SO_PEEK_OFF, offset).OrThrow("setsockopt(SO_PEEK_OFF)", file.ToString());
        int before = Sys.BytesBeforeLastMessage(fd, packet.Data.Length);
        if (before > 0) packets.Add(packet with { Data = packet.Data[..before], Descriptors = [] });
        packets.Add(packet with { Data = packet.Data[before..] });
    }

    private static Packet? LookAt(OpenFile file, int fd, int offset, ref byte[] buffer)
    {
        for (; ; )
        {
            Sys.SetOption(fd, SOL_SOCKET, SO_PEEK_OFF, offset).OrThrow("setsockopt(SO_PEEK_OFF)", file.ToString());
            Packet? packet = Look(file, fd, buffer, out bool truncated);
            if (!truncated) return packet;
            if (buffer.Length >= MaxBufferBytes) throw file.Fail(ErrorCode.UnsupportedFile, "a message in its queue is larger than any can be");
            foreach (int copy in packet?.Descriptors ?? []) Sys.Close(copy);
            buffer = new byte[buffer.Length * 4];
        }
    }

    /// <summary>Null when the queue is empty there.</summary>
    private static Packet? Look(OpenFile file, int fd, byte[] buffer, out bool truncated)
    {
        Span<byte> name = stackalloc byte[128];
        Span<byte> control = stackalloc byte[ControlBytes];
        truncated = false;
        SysResult got = Sys.ReceiveMessage(fd, buffer, name, control, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC, out var lengths);
        if (got.Errno is Errno.EAGAIN or Errno.EINVAL or Errno.ENOTCONN) return null;
        got.OrThrow("reading its queue", file.ToString());
        truncated = (lengths.Flags & MSG_TRUNC) != 0;
        if ((lengths.Flags & MSG_CTRUNC) != 0) throw file.Fail(ErrorCode.UnsupportedFile, "a message in its queue has control data that cannot be read");
        int[] descriptors = [];
        (uint, uint, uint)? sender = null;
        for (Span<byte> rest = control[..lengths.Control]; rest.Length >= 16;)
        {
            int length = (int)MemoryMarshal.Read<long>(rest), type = MemoryMarshal.Read<int>(rest[12..]);
            if (length < 16 || length > rest.Length) break;
            if (type == SCM_RIGHTS) descriptors = MemoryMarshal.Cast<byte, int>(rest[16..length]).ToArray();
            else if (type == SCM_CREDENTIALS) sender = MemoryMarshal.Read<(uint, uint, uint)>(rest[16..]);
            rest = rest[Math.Min((length + 7) & ~7, rest.Length)..];
        }

        byte[] path = lengths.Name > 2 ? name[2..lengths.Name].ToArray() : [];
        return new Packet(buffer.AsSpan(0, Math.Min(got.Value, buffer.Length)).ToArray(), descriptors, sender, path);
    }
}
