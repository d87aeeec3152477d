namespace CriuPmem.Images;

/// <summary>What follows an entry in its file, outside the protobuf message; the entry tells its length.</summary>
internal enum BlobAfter
{
    /// <summary>Nothing: the next entry.</summary>
    Nothing,

    /// <summary><c>pipe_data_entry.bytes</c> bytes.</summary>
    PipeData,

    /// <summary><c>sk_packet_entry.length</c> bytes.</summary>
    Packet,

    /// <summary><c>inq_len + outq_len</c> bytes of a TCP connection's queues.</summary>
    TcpQueues,

    /// <summary>Contents to the end of the file, or, with <c>chunks</c>, <c>len</c> bytes after each chunk.</summary>
    Ghost,

    /// <summary>A SysV segment's contents padded to 4 bytes, unless they are in a page map.</summary>
    SysvShm,

    /// <summary><c>nsems</c> 16-bit values, padded to 8 bytes.</summary>
    SysvSem,

    /// <summary><c>qnum</c> times: a size, an ipc_msg, its text padded to 8 bytes.</summary>
    SysvMsg,

    /// <summary><c>keys_bytes + values_bytes</c> bytes.</summary>
    BpfMap,
}
