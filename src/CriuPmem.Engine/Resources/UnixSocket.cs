using System.Globalization;
using System.Text;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Restore;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.Engine.Resources;

/// <summary>UNIX sockets (unix(7)): pairs, servers and clients, with what is under way in them.</summary>
/// <remarks>
/// Both ends of a connection have to be in the tree, or the user leaves the other one outside (--external unix[INODE],
/// --ext-unix-sk): that one has an entry without a descriptor, with its name, and is connected to again or replaced by what
/// the restore is given (--inherit-fd). All are made again before the first process gets its descriptors
/// (<see cref="UnixSocketMaker"/>), since they depend on one another.
/// </remarks>
internal sealed class UnixSocket : FileKind
{
    private const uint Outside = 1; // of uflags

    /// <inheritdoc />
    public override FdTypes Type => FdTypes.Unixsk;

    /// <inheritdoc />
    public override bool Matches(OpenFile file) =>
        file.Link.StartsWith("socket:[", StringComparison.Ordinal) && Sys.Option(file.Copy(), SOL_SOCKET, SO_DOMAIN) == AF_UNIX;

    /// <inheritdoc />
    public override void Dump(DumpContext context, OpenFile file, FileEntry entry)
    {
        UnixSocketInfo info = context.Sockets.Find(file.Stat.st_ino) ?? throw file.Fail(
            ErrorCode.UnsupportedFile, "it belongs to another network namespace", "Let the program close it");
        int fd = file.Copy();
        var socket = new UnixSkEntry
        {
            Id = file.Id,
            Ino = info.Inode,
            Type = (uint)info.Type,
            State = (uint)info.State,
            Flags = file.Flags,
            Uflags = 0,
            Backlog = info.State == TCP_LISTEN ? info.WriteQueue : 0,
            Peer = info.Peer,
            Fown = file.Owner(),
            Opts = SocketOptions.Dump(file),
            Name = ByteString.CopyFrom(info.Name),
            NsId = context.Tree.Root.Ids.NetNsId,
        };
        if (info.Shutdown != 0) socket.Shutdown = (SkShutdown)info.Shutdown;
        if (info.Name.Length != 0 && info.Name[0] != 0) DumpPath(file, fd, info, socket);
        DumpPeer(context, file, fd, info, socket);
        entry.Usk = socket;
        context.Sockets.Add(socket);
        if (info.State != TCP_LISTEN) context.Sockets.SaveQueue(file, info);
    }

    /// <inheritdoc />
    public override IEnumerable<string> ExternalKeys(RestoreContext context, FileEntry entry)
    {
        UnixSkEntry socket = entry.Usk;
        // The end of a connection within the tree is made together with the other end, and with it alone.
        bool within = socket.Peer != 0 && !context.Files.OfType(FdTypes.Unixsk).Any(other => other.Usk.Ino == socket.Peer && IsOutside(other.Usk));
        return within || IsOutside(socket) ? [] : [string.Create(CultureInfo.InvariantCulture, $"socket:[{socket.Ino}]")];
    }

    /// <summary>True for the entry of a socket that no process of the tree has: one at the other end of a connection.</summary>
    public static bool IsOutside(UnixSkEntry socket) => (socket.Uflags & Outside) != 0;

    /// <inheritdoc />
    public override int Restore(RestoreContext context, FileEntry entry) =>
        throw new CheckpointException(ErrorCode.Internal, "a UNIX socket was not made in time") { Object = $"file {entry.Id}" };

    /// <summary>How a socket is called in messages.</summary>
    public static string Describe(ByteString name)
    {
        string text = Encoding.UTF8.GetString(name.Span).TrimEnd('\0');
        return text.Length == 0 ? "an unnamed UNIX socket" : $"UNIX socket {text.Replace('\0', '@')}";
    }

    private static void DumpPath(OpenFile file, int fd, UnixSocketInfo info, UnixSkEntry socket)
    {
        string name = LinuxText.Decode(info.Name.AsSpan().TrimEnd((byte)0));
        // SIOCUNIXFILE (Linux 4.15) opens the file that the socket is bound to, wherever its path leads now.
        SysResult bound = Sys.Ioctl(fd, SIOCUNIXFILE);
        if (bound.Failed) // an accepted socket has the name only
        {
            DumpFile(name, socket);
            return;
        }

        using var path = new OwnedFd(bound.Value);
        string real = Sys.ReadLink(AT_FDCWD, $"/proc/thread-self/fd/{path.Fd}", out _) ?? name;
        Sys.Stat(path.Fd, out FileStat stat).OrThrow("fstat", file.ToString());
        string full = name.StartsWith('/') ? name : real;
        if (!name.StartsWith('/') && real.LastIndexOf('/') is > 0 and int slash) socket.NameDir = ByteString.CopyFrom(LinuxText.Encode(real.AsSpan(0, slash)));
        bool leads = !Sys.Stat(AT_FDCWD, full, out FileStat there).Failed && there.st_ino == stat.st_ino && there.st_dev == stat.st_dev;
        if (!leads && stat.st_nlink != 0)
        {
            throw file.Fail(ErrorCode.UnsupportedFile, $"its path {name} leads elsewhere: it was bound in another root directory, or moved since", "Let the program bind it again");
        }

        if (!leads) socket.Deleted = true;
        socket.FilePerms = new FilePermsEntry { Mode = stat.st_mode, Uid = stat.st_uid, Gid = stat.st_gid };
    }

    private static void DumpFile(string name, UnixSkEntry socket)
    {
        if (Sys.Stat(AT_FDCWD, name, out FileStat stat).Failed || stat.Type != S_IFSOCK) return;
        socket.FilePerms = new FilePermsEntry { Mode = stat.st_mode, Uid = stat.st_uid, Gid = stat.st_gid };
    }

    private static void DumpPeer(DumpContext context, OpenFile file, int fd, UnixSocketInfo info, UnixSkEntry socket)
    {
        if (!Sys.GetOption(fd, SOL_SOCKET, SO_PEERCRED, out (uint Pid, uint Uid, uint Gid) peer).Failed && peer.Pid != 0)
        {
            (socket.PeerPid, socket.PeerUid, socket.PeerGid) = (peer.Pid, peer.Uid, peer.Gid);
        }

        if (info.Type != SOCK_DGRAM && info.State == TCP_ESTABLISHED && info.Peer == 0 && context.Sockets.ListenerOf(info.Inode) is { } listener)
        {
            if (info.WriteQueue != 0)
            {
                throw file.Fail(ErrorCode.InFlight, "it sent data over a connection that is not accepted yet", "Try again when the server has accepted it");
            }

            socket.Peer = listener.Inode;
        }

        if (info.Type == SOCK_DGRAM && info.Peer == 0 && Sys.SocketName(fd, peer: true) is not null) socket.PeerGone = true;
        if (socket.Peer == 0) return;
        uint inode = socket.Peer;
        context.WhenFilesAreKnown.Add(() =>
        {
            if (context.Sockets.IsSaved(inode)) return;
            byte[] name = context.Sockets.Find(inode)?.Name ?? [];
            if (!context.External.Has(string.Create(CultureInfo.InvariantCulture, $"unix[{info.Inode}]")) && !(context.Options.ExternalUnixSockets && info.Type == SOCK_DGRAM))
            {
                string other = name.Length > 0 ? Describe(ByteString.CopyFrom(name)) : "a socket";
                throw file.Fail(
                    ErrorCode.ExternalPeer, $"it is connected to {other} (inode {inode}), which no process of the tree has open",
                    $"Leave that outside with --external 'unix[{info.Inode}]', add the other process to the tree, or let the program close the connection");
            }

            if (info.ReceiveQueue != 0 && (info.Type != SOCK_DGRAM || info.Name.Length == 0))
            {
                throw file.Fail(
                    ErrorCode.InFlight, $"it has {info.ReceiveQueue} unread bytes from outside, which cannot be given to it again",
                    "Try again when the program has read them");
            }

            context.Sockets.AddOutside(inode, name);
        });
    }
}
