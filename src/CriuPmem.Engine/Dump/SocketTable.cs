using CriuPmem.Engine.Resources;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Dump;

/// <summary>The UNIX sockets of the tree, and what is known of all others: who is connected to whom, and what is under way.</summary>
internal sealed class SocketTable(DumpContext context)
{
    private readonly Dictionary<uint, UnixSkEntry> _saved = [];
    private readonly HashSet<uint> _outside = [];
    private readonly List<(SkPacketEntry Packet, byte[] Data)> _packets = [];
    private Dictionary<uint, UnixSocketInfo>? _all;
    private Dictionary<uint, UnixSocketInfo>? _listenerOf;

    /// <summary>What the kernel tells of a socket; null for one of another network namespace.</summary>
    public UnixSocketInfo? Find(ulong inode) => (_all ??= SocketDiagnosis.Unix()).GetValueOrDefault((uint)inode);

    /// <summary>The socket at which another one waits to be accepted, or null.</summary>
    public UnixSocketInfo? ListenerOf(uint inode)
    {
        if (_listenerOf is null)
        {
            _listenerOf = [];
            foreach (UnixSocketInfo socket in (_all ??= SocketDiagnosis.Unix()).Values)
            {
                foreach (uint client in socket.Waiting) _listenerOf[client] = socket;
            }
        }

        return _listenerOf.GetValueOrDefault(inode);
    }

    /// <summary>True when the socket with this inode is one of the tree.</summary>
    public bool IsSaved(uint inode) => _saved.ContainsKey(inode);

    /// <summary>Takes a socket of the tree up.</summary>
    public void Add(UnixSkEntry socket) => _saved.Add(socket.Ino, socket);

    /// <summary>Notes the other end of a connection, which stays outside of the snapshot.</summary>
    public void AddOutside(uint inode, byte[] name)
    {
        if (!_outside.Add(inode)) return;
        FileEntry entry = context.Files.AddUnopened(FdTypes.Unixsk);
        entry.Usk = new UnixSkEntry
        {
            Id = entry.Id,
            Ino = inode,
            // As the peer has it: type and state tell nothing here.
            Type = SOCK_DGRAM,
            State = TCP_LISTEN,
            Flags = 0,
            Uflags = 1,
            Backlog = 0,
            Peer = 0,
            Fown = new FownEntry { Uid = 0, Euid = 0, Signum = 0, PidType = 0, Pid = 0 },
            Opts = new SkOptsEntry { SoSndbuf = 0, SoRcvbuf = 0, SoSndTmoSec = 0, SoSndTmoUsec = 0, SoRcvTmoSec = 0, SoRcvTmoUsec = 0 },
            Name = Google.Protobuf.ByteString.CopyFrom(name),
        };
    }

    /// <summary>Reads what a socket has still to receive, without taking it; passed descriptors become files of the tree.</summary>
    public void SaveQueue(OpenFile file, UnixSocketInfo socket)
    {
        if (_packets.Count == 0 && !context.Contents.Contains(Write)) context.Contents.Add(Write);
        foreach (SocketQueue.Packet packet in SocketQueue.Peek(file, socket))
        {
            var entry = new SkPacketEntry { IdFor = file.Id, Length = (uint)packet.Data.Length };
            if (packet.Descriptors.Length != 0)
            {
                var rights = new ScmEntry { Type = SCM_RIGHTS };
                foreach (int fd in packet.Descriptors) rights.Rights.Add(context.Files.IdOfPassed(fd));
                entry.Scm.Add(rights);
            }

            if (packet.Sender is { } sender) entry.Scm.Add(new ScmEntry { Type = SCM_CREDENTIALS, Pid = sender.Pid, Uid = sender.Uid, Gid = sender.Gid });
            if (packet.Name.Length != 0) entry.Sender = Google.Protobuf.ByteString.CopyFrom(packet.Name);
            _packets.Add((entry, packet.Data));
        }
    }

    private void Write()
    {
        if (_packets.Count == 0) return;
        using ImageWriter image = context.Snapshot.Create(ImageKind.SkQueues);
        foreach ((SkPacketEntry packet, byte[] data) in _packets) image.Add(packet, data);
    }
}
