using CriuPmem.Engine.Transfer;

namespace CriuPmem.Engine;

/// <summary>A page server: receives the memory of one dump or pre-dump into an images directory.</summary>
public static class PageServerJob
{
    /// <summary>Waits for a dump, and returns the number of bytes that it sent when all of them are stored.</summary>
    /// <exception cref="CheckpointException">Something failed, here or there: nothing is kept.</exception>
    public static long Run(PageServerOptions options)
    {
        using var directory = new ReceivingDirectory(options);
        using ByteChannel channel = Connection(options);
        options.Log.Info("page-server", $"{channel.Peer} has connected");
        new PageReceiver(channel, directory).Run();
        options.Log.Info("page-server", $"{directory.LengthBytes >> 10} KiB of {directory.Objects} objects received");
        return directory.LengthBytes;
    }

    private static SocketChannel Connection(PageServerOptions options)
    {
        if (options.Remote.Socket >= 0)
        {
            BeReady(options);
            return Endpoint.Connect(options.Remote, "client");
        }

        using OwnedFd listener = Endpoint.Listen(options.Remote);
        options.Log.Info("page-server", $"listening at {options.Remote.Address ?? "every address"}, port {options.Remote.Port}");
        BeReady(options);
        return Endpoint.Accept(listener, "client");
    }

    private static void BeReady(PageServerOptions options)
    {
        if (!options.OnReady()) throw new CheckpointException(ErrorCode.ActionRefused, "the status-ready action said no");
    }
}
