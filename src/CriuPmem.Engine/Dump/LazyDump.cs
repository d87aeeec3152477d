using CriuPmem.Engine.Transfer;

namespace CriuPmem.Engine.Dump;

/// <summary>The second half of a dump with --lazy-pages: the tree stands still until another machine has fetched its memory.</summary>
/// <remarks>If that fails the tree goes on here: there it ends with its pager, so that it never runs twice.</remarks>
internal sealed class LazyDump : IDisposable
{
    private readonly DumpOptions _options;
    private readonly FrozenSupply _supply;
    private readonly OwnedFd? _listener;
    private readonly TlsTrust? _trust;

    private LazyDump(DumpOptions options, FrozenSupply supply, OwnedFd? listener, TlsTrust? trust)
    {
        _options = options;
        _supply = supply;
        _listener = listener;
        _trust = trust;
    }

    /// <summary>Begins to listen, so that a port that is in use refuses the dump before anything is done; null when memory is saved as ever.</summary>
    /// <param name="options">What the user asks for.</param>
    /// <param name="store">Where pages go; of those that are left none arrives there any more.</param>
    public static LazyDump? Open(DumpOptions options, ref IPageStore store)
    {
        if (options.Lazy is not { } remote) return null;
        TlsTrust? trust = Endpoint.Trust(remote);
        OwnedFd? listener = remote.Socket >= 0 ? null : Endpoint.Listen(remote);
        var supply = new FrozenSupply(store);
        store = supply;
        return new LazyDump(options, supply, listener, trust);
    }

    /// <summary>Pages that stay in the processes.</summary>
    public long Pages => _supply.Pages;

    /// <summary>Serves; returns when everything has been fetched.</summary>
    /// <exception cref="CheckpointException">The connection was cut, or makes no sense.</exception>
    public void Serve()
    {
        RemoteOptions remote = _options.Lazy!;
        _options.Log.Info("dump", $"{_supply.Pages} pages wait to be fetched at {remote.Address ?? "every address"}, port {remote.Port}");
        if (!_options.OnReady()) throw new CheckpointException(ErrorCode.ActionRefused, "the status-ready action said no") { Pid = _options.Pid };
        using ByteChannel channel = _listener is null ? Endpoint.Adopt(remote, "lazy-pages daemon", _trust) : Endpoint.Accept(_listener, "lazy-pages daemon", _trust);
        var supplier = new PageSupplier(channel, _supply);
        supplier.Run();
        _options.Log.Info("dump", $"{supplier.Pages} pages were fetched");
    }

    /// <inheritdoc />
    public void Dispose() => _listener?.Dispose();
}
