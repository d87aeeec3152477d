namespace CriuPmem.Engine.Transfer;

/// <summary>A connected stream socket.</summary>
/// <param name="socket">The socket; it is closed with the channel.</param>
/// <param name="peer">Whom it leads to.</param>
internal sealed class SocketChannel(int socket, string peer) : ByteChannel(peer)
{
    private const int LookAtSignalsEveryMs = 200;

    private int _socket = socket;
    private StopwatchLap? _waiting; // since when

    /// <inheritdoc />
    public override bool IsEnded => (Sys.Poll(_socket, POLLRDHUP, 0) & (POLLRDHUP | POLLHUP | POLLERR)) != 0;

    /// <inheritdoc />
    public override int ReceiveSome(Span<byte> buffer)
    {
        while (true)
        {
            SysResult received = Sys.Receive(_socket, buffer, MSG_DONTWAIT);
            if (received.Failed)
            {
                Wait(received.Errno, POLLIN);
                continue;
            }

            _waiting = null;
            return received.Value;
        }
    }

    /// <inheritdoc />
    public override void Send(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            SysResult sent = Sys.Send(_socket, bytes, MSG_DONTWAIT);
            if (sent.Failed)
            {
                Wait(sent.Errno, POLLOUT);
                continue;
            }

            _waiting = null;
            bytes = bytes[sent.Value..];
        }
    }

    /// <summary>True when there is something to receive at once, an end too.</summary>
    public bool HasInput => Sys.Poll(_socket, POLLIN, 0) != 0;

    /// <summary>The socket, to be waited for.</summary>
    public int Socket => _socket;

    /// <inheritdoc />
    public override void Dispose()
    {
        if (_socket >= 0) Sys.Close(_socket);
        _socket = -1;
    }

    private void Wait(Errno errno, short events)
    {
        if (errno is not (Errno.EAGAIN or Errno.EINTR)) throw Cut(errno);
        bool isReady = Sys.Poll(_socket, events, LookAtSignalsEveryMs) != 0;
        Interruption.Check();
        if (isReady || PatienceSeconds == 0) return;
        _waiting ??= new StopwatchLap();
        if (_waiting.Total > PatienceSeconds * 1_000_000L) throw Silent();
    }
}
