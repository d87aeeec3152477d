using CriuPmem.Images;

namespace CriuPmem.Engine;

/// <summary>Decompresses the pages of a snapshot, and of those that it continues, for engines that cannot read them.</summary>
public static class DecompressJob
{
    /// <summary>Converts the snapshot in a directory; returns how many bytes of pages were compressed.</summary>
    /// <param name="imagesDirectoryFd">The directory of the newest snapshot.</param>
    /// <param name="imagesDirectory">Its name for messages.</param>
    /// <param name="log">Where it tells what it does.</param>
    /// <exception cref="CheckpointException">There is no room, or it is damaged; it can be restored as before.</exception>
    public static long Run(int imagesDirectoryFd, string imagesDirectory, EngineLog log)
    {
        var newest = new SnapshotReader(imagesDirectoryFd, imagesDirectory);
        using var chain = new SnapshotChain(newest);
        long bytes = 0;
        for (int i = chain.Layers.Count - 1; i >= 0; i--) // one that continues another may only say that it is plain when the other is
        {
            SnapshotReader layer = chain.Layers[i];
            using var alone = DirectoryLock.Take(layer.DirectoryFd, layer.DirectoryName, exclusive: true);
            long plain = SnapshotDecompression.Run(layer, layer.DirectoryFd, layer.DirectoryName);
            log.Info("decompress", $"{layer.DirectoryName}: {plain >> 10} KiB of pages");
            bytes += plain;
        }

        return bytes;
    }
}
