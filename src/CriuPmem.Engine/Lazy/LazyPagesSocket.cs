using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace CriuPmem.Engine.Lazy;

/// <summary>lazy-pages.socket in the work directory, over which a restore hands its processes to a lazy-pages daemon.</summary>
/// <remarks>
/// One connection: of each process its number (32 bits), then one byte with its userfaultfd (SCM_RIGHTS); in the end, when
/// the tree runs, the word "RSTF" as a 32-bit number. Of a zombie comes its number with the sign changed, and nothing else.
/// Nothing comes back. The same as the peer's, whose daemon counts the processes.
/// </remarks>
internal static unsafe class LazyPagesSocket
{
    /// <summary>The last word.</summary>
    public const uint Finished = 0x52535446;

    /// <summary>Its name.</summary>
    public const string Name = "lazy-pages.socket";

    private const int ControlBytes = 64, HeaderBytes = 16;

    /// <summary>The struct sockaddr_un of the socket in a directory that is open.</summary>
    public static byte[] Address(int directoryFd)
    {
        var address = new byte[110];
        BinaryPrimitives.WriteUInt16LittleEndian(address, AF_UNIX);
        Encoding.ASCII.GetBytes($"/proc/self/fd/{directoryFd}/{Name}").CopyTo(address, 2); // a path of any length would not fit
        return address;
    }

    /// <summary>Sends a word: a process's number (of one that has no memory, with the sign changed), or the last one.</summary>
    public static SysResult Send(int socket, uint word) => Sys.Send(socket, BitConverter.GetBytes(word), 0);

    /// <summary>Sends a process's userfaultfd, which follows its number.</summary>
    public static SysResult SendDescriptor(int socket, int pid, int userfaultfd)
    {
        Span<byte> control = stackalloc byte[24 + 32];
        control.Clear();
        Header(control, HeaderBytes + sizeof(int), SCM_RIGHTS);
        MemoryMarshal.Write(control[HeaderBytes..], userfaultfd);
        // A daemon in another pid namespace can tell by this which process it is.
        Header(control[24..], HeaderBytes + 12, SCM_CREDENTIALS);
        MemoryMarshal.Write(control[40..], pid);
        SysResult sent = Sys.SendMessage(socket, [0], [], control, 0);
        return sent.Failed && sent.Errno != Errno.EAGAIN ? Sys.SendMessage(socket, [0], [], control[..24], 0) : sent;
    }

    /// <summary>Bytes that the other side has not received yet.</summary>
    public static SysResult Unreceived(int socket)
    {
        int bytes = 0;
        SysResult asked = Sys.Ioctl(socket, SIOCOUTQ, ref bytes);
        return asked.Failed ? asked : new SysResult(bytes);
    }

    /// <summary>Receives the userfaultfd behind a process's number.</summary>
    /// <param name="socket">The connection.</param>
    /// <param name="userfaultfd">The descriptor, which the caller owns; -1 when there is none.</param>
    /// <param name="sender">The sending process's number as this process sees it; 0 when it cannot be told.</param>
    public static SysResult Receive(int socket, out int userfaultfd, out int sender)
    {
        (userfaultfd, sender) = (-1, 0);
        Span<byte> control = stackalloc byte[ControlBytes];
        Span<byte> one = stackalloc byte[1];
        SysResult received = Sys.ReceiveMessage(socket, one, [], control, MSG_CMSG_CLOEXEC, out (int Name, int Control, int Flags) lengths);
        if (received.Failed) return received;
        for (int at = 0; at + HeaderBytes <= lengths.Control;)
        {
            int length = (int)MemoryMarshal.Read<long>(control[at..]), type = MemoryMarshal.Read<int>(control[(at + 12)..]);
            if (length < HeaderBytes || at + length > lengths.Control) break;
            if (type == SCM_CREDENTIALS) sender = MemoryMarshal.Read<int>(control[(at + HeaderBytes)..]);
            for (int i = at + HeaderBytes; type == SCM_RIGHTS && i + sizeof(int) <= at + length; i += sizeof(int))
            {
                int fd = MemoryMarshal.Read<int>(control[i..]);
                if (userfaultfd < 0) userfaultfd = fd;
                else Sys.Close(fd);
            }

            at += (length + 7) & ~7;
        }

        return received;
    }

    private static void Header(Span<byte> control, int lengthBytes, int type)
    {
        MemoryMarshal.Write(control, (long)lengthBytes);
        MemoryMarshal.Write(control[8..], SOL_SOCKET);
        MemoryMarshal.Write(control[12..], type);
    }
}
