using System.Buffers.Binary;
using System.Globalization;
using System.Text;
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
        using OwnedFd alone = TakePlace(options);
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

    /// <summary>One page server at a time receives into a directory; the dump whose memory it is may write its other images there meanwhile.</summary>
    /// <remarks>A name that ends with the process: the lock of the directory is the dump's. It holds for one network namespace.</remarks>
    private static OwnedFd TakePlace(PageServerOptions options)
    {
        Sys.Stat(options.ImagesDirectoryFd, out FileStat stat).OrThrow("fstat", options.ImagesDirectory);
        byte[] name = Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"??\0criu-pmem page-server {stat.st_dev:x} {stat.st_ino:x}")); // unix(7): abstract
        BinaryPrimitives.WriteUInt16LittleEndian(name, AF_UNIX);
        var place = new OwnedFd((int)Sys.Socket(AF_UNIX, SOCK_STREAM).OrThrow("socket", "the page server"));
        if (Sys.Bind(place.Fd, name).Errno != Errno.EADDRINUSE) return place;
        place.Dispose();
        throw new CheckpointException(ErrorCode.DirectoryInUse, "another page server receives into the images directory")
        {
            Object = options.ImagesDirectory,
            Remedy = "Give every page server a directory of its own (-D), or wait for the other to end.",
        };
    }

    private static void BeReady(PageServerOptions options)
    {
        if (!options.OnReady()) throw new CheckpointException(ErrorCode.ActionRefused, "the status-ready action said no");
    }
}
