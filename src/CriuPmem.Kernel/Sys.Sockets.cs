using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>Calls on sockets.</summary>
internal static unsafe partial class Sys
{
    /// <summary>socket(2), close-on-exec.</summary>
    public static SysResult Socket(int family, int type, int protocol = 0) =>
        Syscall.Invoke(SyscallNumber.socket, family, type | SOCK_CLOEXEC, protocol);

    /// <summary>socketpair(2) of AF_UNIX, close-on-exec.</summary>
    public static SysResult SocketPair(int type, out int first, out int second)
    {
        int* pair = stackalloc int[2];
        SysResult made = Syscall.Invoke(SyscallNumber.socketpair, AF_UNIX, type | SOCK_CLOEXEC, 0, (long)pair);
        (first, second) = (pair[0], pair[1]);
        return made;
    }

    /// <summary>bind(2) to a whole struct sockaddr.</summary>
    public static SysResult Bind(int fd, ReadOnlySpan<byte> address)
    {
        fixed (byte* start = address) return Syscall.Invoke(SyscallNumber.bind, fd, (long)start, address.Length);
    }

    /// <summary>connect(2) to a whole struct sockaddr.</summary>
    public static SysResult Connect(int fd, ReadOnlySpan<byte> address)
    {
        fixed (byte* start = address) return Syscall.Invoke(SyscallNumber.connect, fd, (long)start, address.Length);
    }

    /// <summary>listen(2).</summary>
    public static SysResult Listen(int fd, int backlog) => Syscall.Invoke(SyscallNumber.listen, fd, backlog);

    /// <summary>accept4(2), close-on-exec.</summary>
    public static SysResult Accept(int fd) => Syscall.Invoke(SyscallNumber.accept4, fd, 0, 0, SOCK_CLOEXEC);

    /// <summary>recv(2); 0 when the other side has ended a stream.</summary>
    public static SysResult Receive(int fd, Span<byte> buffer, int flags)
    {
        fixed (byte* start = buffer) return Syscall.Invoke(SyscallNumber.recvfrom, fd, (long)start, buffer.Length, flags, 0, 0);
    }

    /// <summary>send(2) without SIGPIPE.</summary>
    public static SysResult Send(int fd, ReadOnlySpan<byte> bytes, int flags)
    {
        fixed (byte* start = bytes) return Syscall.Invoke(SyscallNumber.sendto, fd, (long)start, bytes.Length, flags | MSG_NOSIGNAL, 0, 0);
    }

    /// <summary>poll(2) of one descriptor; the events that are there, or 0.</summary>
    public static int Poll(int fd, short events, int timeoutMilliseconds)
    {
        long request = (uint)fd | (long)events << 32; // struct pollfd
        SysResult ready = Syscall.Invoke(SyscallNumber.poll, (long)(&request), 1, timeoutMilliseconds);
        return ready.Failed || ready.Raw == 0 ? 0 : (int)(request >> 48 & 0xFFFF);
    }

    /// <summary>shutdown(2).</summary>
    public static SysResult Shutdown(int fd, int how) => Syscall.Invoke(SyscallNumber.shutdown, fd, how);

    /// <summary>getsockname(2), or getpeername(2): the whole struct sockaddr; null when it fails.</summary>
    public static byte[]? SocketName(int fd, bool peer)
    {
        byte* address = stackalloc byte[128];
        int length = 128;
        SysResult got = Syscall.Invoke(peer ? SyscallNumber.getpeername : SyscallNumber.getsockname, fd, (long)address, (long)(&length));
        return got.Failed ? null : new ReadOnlySpan<byte>(address, Math.Min(length, 128)).ToArray();
    }

    /// <summary>getsockopt(2) of a structure or number.</summary>
    public static SysResult GetOption<T>(int fd, int level, int option, out T value) where T : unmanaged
    {
        T read = default;
        int length = sizeof(T);
        SysResult result = Syscall.Invoke(SyscallNumber.getsockopt, fd, level, option, (long)(&read), (long)(&length));
        value = read;
        return result;
    }

    /// <summary>getsockopt(2) of a number; 0 where the socket has no such option.</summary>
    public static int Option(int fd, int level, int option) =>
        GetOption(fd, level, option, out int value).Failed ? 0 : value;

    /// <summary>getsockopt(2) of bytes.</summary>
    /// <returns>What the kernel says: for most options nothing; <paramref name="length"/> is the length it gave.</returns>
    public static SysResult GetOption(int fd, int level, int option, Span<byte> value, out int length)
    {
        int size = value.Length;
        SysResult result;
        fixed (byte* start = value) result = Syscall.Invoke(SyscallNumber.getsockopt, fd, level, option, (long)start, (long)(&size));
        length = size;
        return result;
    }

    /// <summary>setsockopt(2).</summary>
    public static SysResult SetOption<T>(int fd, int level, int option, T value) where T : unmanaged =>
        Syscall.Invoke(SyscallNumber.setsockopt, fd, level, option, (long)(&value), sizeof(T));

    /// <summary>setsockopt(2) of bytes.</summary>
    public static SysResult SetOption(int fd, int level, int option, ReadOnlySpan<byte> value)
    {
        fixed (byte* start = value) return Syscall.Invoke(SyscallNumber.setsockopt, fd, level, option, (long)start, value.Length);
    }

    /// <summary>recvmsg(2).</summary>
    /// <param name="fd">The socket.</param>
    /// <param name="data">Filled with the data.</param>
    /// <param name="name">Filled with the sender's struct sockaddr.</param>
    /// <param name="control">Filled with control messages (cmsg(3)).</param>
    /// <param name="flags">MSG_….</param>
    /// <param name="lengths">Lengths of name and control messages, and the flags of what was received.</param>
    public static SysResult ReceiveMessage(
        int fd, Span<byte> data, Span<byte> name, Span<byte> control, int flags, out (int Name, int Control, int Flags) lengths)
    {
        fixed (byte* bytes = data)
        fixed (byte* address = name)
        fixed (byte* messages = control)
        {
            ulong* vector = stackalloc ulong[2] { (ulong)bytes, (ulong)data.Length };
            var header = new MsgHdr
            {
                Name = (ulong)address,
                NameBytes = (uint)name.Length,
                Vector = (ulong)vector,
                VectorLength = 1,
                Control = (ulong)messages,
                ControlBytes = (ulong)control.Length,
            };
            SysResult received = Syscall.Invoke(SyscallNumber.recvmsg, fd, (long)(&header), flags);
            lengths = ((int)header.NameBytes, (int)header.ControlBytes, header.Flags);
            return received;
        }
    }

    /// <summary>
    /// Of the <paramref name="lengthBytes"/> bytes that a look at a stream gave (MSG_PEEK, SO_PEEK_OFF set), how many lie
    /// before the last message among them. The kernel copies message by message: with a buffer whose last byte cannot be
    /// written, it stops before the last one.
    /// </summary>
    public static int BytesBeforeLastMessage(int fd, int lengthBytes)
    {
        const int page = 4096;
        long good = (lengthBytes + page - 1L) / page * page;
        SysResult mapped = Syscall.Invoke(SyscallNumber.mmap, 0, good + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mapped.OrThrow("mmap", "a buffer");
        Syscall.Invoke(SyscallNumber.mprotect, mapped.Raw + good, page, PROT_NONE).OrThrow("mprotect", "a buffer");
        ulong* vector = stackalloc ulong[2] { (ulong)(mapped.Raw + good - (lengthBytes - 1)), (ulong)lengthBytes };
        var header = new MsgHdr { Vector = (ulong)vector, VectorLength = 1 };
        SysResult received = Syscall.Invoke(SyscallNumber.recvmsg, fd, (long)(&header), MSG_PEEK | MSG_DONTWAIT);
        Syscall.Invoke(SyscallNumber.munmap, mapped.Raw, good + page);
        return received.Failed ? 0 : received.Value;
    }

    /// <summary>sendmsg(2); without MSG_DONTWAIT it may wait.</summary>
    public static SysResult SendMessage(int fd, ReadOnlySpan<byte> data, ReadOnlySpan<byte> name, ReadOnlySpan<byte> control, int flags)
    {
        fixed (byte* bytes = data)
        fixed (byte* address = name)
        fixed (byte* messages = control)
        {
            ulong* vector = stackalloc ulong[2] { (ulong)bytes, (ulong)data.Length };
            var header = new MsgHdr
            {
                Name = (ulong)address,
                NameBytes = (uint)name.Length,
                Vector = (ulong)vector,
                VectorLength = 1,
                Control = (ulong)messages,
                ControlBytes = (ulong)control.Length,
            };
            return Syscall.Invoke(SyscallNumber.sendmsg, fd, (long)(&header), flags | MSG_NOSIGNAL);
        }
    }

    /// <summary>struct msghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct MsgHdr
    {
        public ulong Name;
        public uint NameBytes;
        public ulong Vector, VectorLength, Control, ControlBytes;
        public int Flags;
    }
}
