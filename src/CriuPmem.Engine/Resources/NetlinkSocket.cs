using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Resources;

/// <summary>Netlink sockets without unread messages (netlink(7)).</summary>
internal sealed class NetlinkSocket : FileKind
{
    private const int NETLINK_ADD_MEMBERSHIP = 1, NETLINK_LIST_MEMBERSHIPS = 9;

    // NETLINK_PKTINFO, BROADCAST_ERROR, NO_ENOBUFS, LISTEN_ALL_NSID, CAP_ACK, EXT_ACK, GET_STRICT_CHK
    private static readonly int[] s_options = [3, 4, 5, 8, 10, 11, 12];

    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Netlinksk;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) =>
        file.Link.StartsWith("socket:[", StringComparison.Ordinal) && Sys.Option(file.Copy(), SOL_SOCKET, SO_DOMAIN) == AF_NETLINK;

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        int fd = file.Copy();
        if (Sys.ReceiveMessage(fd, new byte[1], default, default, MSG_PEEK | MSG_DONTWAIT, out _).Errno != Errno.EAGAIN)
        {
            throw file.Fail(ErrorCode.InFlight, "it has unread messages of the kernel, which cannot be saved", "Try again when the program has read them");
        }

        Address own = Read(Sys.SocketName(fd, peer: false)), peer = Read(Sys.SocketName(fd, peer: true));
        var socket = new NetlinkSkEntry
        {
            Id = file.Id,
            Ino = (uint)file.Stat.st_ino,
            Protocol = (uint)Sys.Option(fd, SOL_SOCKET, SO_PROTOCOL),
            State = 0,
            Flags = file.Flags,
            Portid = own.Port,
            DstPortid = peer.Port,
            DstGroup = peer.Groups,
            Fown = file.Owner(),
            Opts = SocketOptions.Dump(file),
            NsId = context.Tree.Root.Ids.NetNsId,
        };
        var groups = new byte[64];
        if (!Sys.GetOption(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, groups, out int lengthBytes).Failed)
        {
            socket.Groups.AddRange(MemoryMarshal.Cast<byte, uint>(groups.AsSpan(0, Math.Min(lengthBytes, groups.Length))).ToArray());
        }

        if (Sys.Option(fd, SOL_SOCKET, SO_TYPE) is var type and not SOCK_RAW) socket.Type = (uint)type;
        foreach (int name in s_options)
        {
            if (Sys.Option(fd, SOL_NETLINK, name) is var value and not 0) socket.MoreOpts.Add(new SocketOptionEntry { Level = SOL_NETLINK, Name = name, Value = value });
        }

        entry.Nlsk = socket;
    }

    /// <inheritdoc />
    public override int Restore(RestoreContext context, FileEntry entry)
    {
        NetlinkSkEntry socket = entry.Nlsk;
        string what = $"netlink socket of protocol {socket.Protocol}";
        int fd = (int)Sys.Socket(AF_NETLINK, socket.HasType ? (int)socket.Type : SOCK_RAW, (int)socket.Protocol).OrThrow("socket", what);
        if (socket.Portid != 0) Sys.Bind(fd, Write(new Address { Port = socket.Portid })).OrThrow("bind", what);
        for (int i = 0; i < socket.Groups.Count * 32; i++)
        {
            if ((socket.Groups[i / 32] >> (i % 32) & 1) != 0) Sys.SetOption(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, i + 1).OrThrow("setsockopt(NETLINK_ADD_MEMBERSHIP)", what);
        }

        if (socket.DstPortid != 0 || socket.DstGroup != 0) Sys.Connect(fd, Write(new Address { Port = socket.DstPortid, Groups = socket.DstGroup })).OrThrow("connect", what);
        SocketOptions.RestoreMore(fd, socket.MoreOpts, what);
        SocketOptions.Restore(fd, socket.Opts, what);
        Sys.Fcntl(fd, F_SETFL, socket.Flags & O_NONBLOCK).OrThrow("fcntl(F_SETFL)", what);
        context.RestoreOwner(fd, socket.Fown, socket.Flags);
        return fd;
    }

    private static Address Read(byte[]? address) => address is { Length: >= 12 } ? MemoryMarshal.Read<Address>(address) : default;

    private static byte[] Write(Address address)
    {
        address.Family = AF_NETLINK;
        return MemoryMarshal.AsBytes(new ReadOnlySpan<Address>(in address)).ToArray();
    }

    /// <summary>struct sockaddr_nl.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Address
    {
        public ushort Family;
        private readonly ushort _pad;
        public uint Port, Groups;
    }
}
