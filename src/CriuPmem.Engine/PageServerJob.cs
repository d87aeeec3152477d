using CriuPmem.Engine.Transfer;
using CriuPmem.Images;

namespace CriuPmem.Engine;

/// <summary>A page server: receives the memory of one dump or pre-dump into an images directory, or serves that of a snapshot to one restore.</summary>
public static class PageServerJob
{
    /// <summary>Waits for the other side, and returns how many bytes were received (and stored) or sent.</summary>
    /// <exception cref="CheckpointException">Something failed, here or there: nothing is kept.</exception>
    public static long Run(PageServerOptions options)
    {
        if (options.Serve) return Serve(options);
        using var directory = new ReceivingDirectory(options);
        using ByteChannel channel = Connection(options);
        options.Log.Info("page-server", $"{channel.Peer} has connected");
        new PageReceiver(channel, directory).Run();
        options.Log.Info("page-server", $"{directory.LengthBytes >> 10} KiB of {directory.Objects} objects received");
        return directory.LengthBytes;
    }

    private static long Serve(PageServerOptions options)
    {
        using var reading = DirectoryLock.Take(options.ImagesDirectoryFd, options.ImagesDirectory, exclusive: false);
        using var chain = new SnapshotChain(new SnapshotReader(options.ImagesDirectoryFd, options.ImagesDirectory));
        using var supply = new ImageSupply(chain);
        using ByteChannel channel = Connection(options);
        options.Log.Info("page-server", $"{channel.Peer} has connected");
        var supplier = new PageSupplier(channel, supply);
        supplier.Run();
        options.Log.Info("page-server", $"{supplier.Pages} pages sent");
        return supplier.Pages * (long)PageSize;
    }

    private static ByteChannel Connection(PageServerOptions options)
    {
        TlsTrust? trust = Endpoint.Trust(options.Remote);
        if (options.Remote.Socket >= 0)
        {
            BeReady(options);
            return Endpoint.Adopt(options.Remote, "client", trust);
        }

        using OwnedFd listener = Endpoint.Listen(options.Remote);
        options.Log.Info("page-server", $"listening at {options.Remote.Address ?? "every address"}, port {options.Remote.Port}");
        BeReady(options);
        return Endpoint.Accept(listener, "client", trust);
    }

    private static void BeReady(PageServerOptions options)
    {
        if (!options.OnReady()) throw new CheckpointException(ErrorCode.ActionRefused, "the status-ready action said no");
    }
}
