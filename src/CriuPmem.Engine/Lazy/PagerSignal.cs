namespace CriuPmem.Engine.Lazy;

/// <summary>The pager's end of the socket to the restore that started it: says that it serves, and learns when the tree is about to run.</summary>
/// <remarks>Until then it fills only what somebody waits for: the restore has better use for the CPU, and for the tree's memory map.</remarks>
/// <param name="socket">The socket, which is taken over; when the restore has ended, too, what is left may come.</param>
internal sealed class PagerSignal(int socket) : IPagerControl
{
    /// <inheritdoc />
    public int Fd { get; private set; } = socket;

    /// <inheritdoc />
    public bool MayStream => Fd < 0;

    /// <summary>Says that the pager serves.</summary>
    public void Tell() => Sys.WriteAll(Fd, "1"u8);

    /// <inheritdoc />
    public void Read(Pager pager)
    {
        Span<byte> one = stackalloc byte[1];
        if (Sys.Read(Fd, one).Errno == Errno.EINTR) return;
        Sys.Close(Fd);
        Fd = -1;
    }
}
