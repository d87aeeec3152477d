namespace CriuPmem.Kernel;

/// <summary>What sock_diag(7) tells of one UNIX socket of this network namespace.</summary>
internal sealed record UnixSocketInfo
{
    /// <summary>Its inode.</summary>
    public uint Inode { get; init; }

    /// <summary>SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET.</summary>
    public int Type { get; init; }

    /// <summary>As in tcp_states.h: established 1, closed 7, listening 10.</summary>
    public int State { get; init; }

    /// <summary>sun_path as far as it is set; empty when it is not bound.</summary>
    public byte[] Name { get; init; } = [];

    /// <summary>The inode of the file that it is bound to, or 0.</summary>
    public uint FileInode { get; init; }

    /// <summary>The device of that file, in the kernel's own form.</summary>
    public uint FileDevice { get; init; }

    /// <summary>The inode of the socket that it is connected to; 0 when there is none, or one that has no descriptor.</summary>
    public uint Peer { get; init; }

    /// <summary>Of a listening socket: the inodes of those who wait to be accepted.</summary>
    public uint[] Waiting { get; init; } = [];

    /// <summary>Bytes to be received; of a listening socket, connections to be accepted.</summary>
    public uint ReceiveQueue { get; init; }

    /// <summary>Bytes that the other end has not received; of a listening socket, the backlog.</summary>
    public uint WriteQueue { get; init; }

    /// <summary>Directions that were shut down: 1 reading, 2 writing.</summary>
    public int Shutdown { get; init; }
}
