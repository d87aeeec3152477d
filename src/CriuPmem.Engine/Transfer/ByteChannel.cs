namespace CriuPmem.Engine.Transfer;

/// <summary>A connection to another engine: bytes in order, until one side ends it.</summary>
/// <param name="peer">Whom it leads to, for messages: "the page server at 10.0.0.2, port 27".</param>
internal abstract class ByteChannel(string peer) : IDisposable
{
    /// <summary>Whom it leads to, for messages.</summary>
    public string Peer => peer;

    /// <summary>How long, in seconds, the other side may let us wait for its next byte, or for room for ours; 0 for ever.</summary>
    /// <remarks>A machine that is gone is noticed anyway; this is for an engine that is there, and stopped or stuck.</remarks>
    public virtual int PatienceSeconds { get; set; }

    /// <summary>A header has to be sent by itself: the peer, within TLS, waits on its socket for what it has decrypted already.</summary>
    public virtual bool SendsHeadersAlone => false;

    /// <summary>True when the other side has ended the connection, also behind something that was not received yet.</summary>
    public abstract bool IsEnded { get; }

    /// <summary>Receives what is there, at least one byte; 0 when the other side has ended the connection.</summary>
    /// <exception cref="CheckpointException">The connection is cut, or a signal asks to end.</exception>
    public abstract int ReceiveSome(Span<byte> buffer);

    /// <summary>Sends all of it.</summary>
    /// <exception cref="CheckpointException">The connection is cut, or a signal asks to end.</exception>
    public abstract void Send(ReadOnlySpan<byte> bytes);

    /// <summary>Receives exactly as much as fits.</summary>
    /// <returns>False when the connection ended before the first byte.</returns>
    /// <exception cref="CheckpointException">It ended later, or is cut.</exception>
    public bool TryReceive(Span<byte> buffer)
    {
        for (int done = 0; done < buffer.Length;)
        {
            int received = ReceiveSome(buffer[done..]);
            if (received == 0 && done == 0) return false;
            if (received == 0) throw Cut(Errno.None);
            done += received;
        }

        return true;
    }

    /// <summary>As <see cref="TryReceive"/>; an end is a failure.</summary>
    public void Receive(Span<byte> buffer)
    {
        if (!TryReceive(buffer)) throw Cut(Errno.None);
    }

    /// <inheritdoc />
    public abstract void Dispose();

    /// <summary>What is said when the connection does not go on.</summary>
    public CheckpointException Cut(Errno errno) => new(ErrorCode.ConnectionLost, $"{peer} ended the connection before all was said")
    {
        Errno = errno,
        Remedy = "What it reports, and its log, tell why; if it says nothing of it, look for what lies between the machines.",
    };

    /// <summary>What is said when the other side lets us wait for too long.</summary>
    public CheckpointException Silent() => new(ErrorCode.TimedOut, $"{peer} has not answered for {PatienceSeconds} s")
    {
        Remedy = "Look whether it is stopped, or its disk is slow, and at its log. With --tls at one side only both wait, too.",
    };

    /// <summary>What is said when the other side speaks another language.</summary>
    public CheckpointException Nonsense(string what) => new(ErrorCode.WrongData, $"{peer} sent what cannot be: {what}")
    {
        Remedy = "Is it another program, or an engine of another version? CRIU 4.2 and criu-pmem understand each other.",
    };
}
