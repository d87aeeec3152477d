namespace CriuPmem.Kernel;

/// <summary>A descriptor of the engine's own table that is closed with its owner.</summary>
internal sealed class OwnedFd : IDisposable
{
    private int _fd;

    /// <summary>Takes over <paramref name="fd"/>.</summary>
    public OwnedFd(int fd) => _fd = fd;

    /// <summary>The descriptor's number, or -1 after <see cref="Dispose"/>.</summary>
    public int Fd => _fd;

    /// <summary>Gives the descriptor away: the caller closes it.</summary>
    public int Release() => Interlocked.Exchange(ref _fd, -1);

    /// <inheritdoc />
    public void Dispose()
    {
        int fd = Release();
        if (fd >= 0) Sys.Close(fd);
    }
}
