namespace CriuPmem.Engine;

/// <summary>A dump: from a running tree to a complete, durable images directory.</summary>
public static class DumpJob
{
    /// <summary>Dumps; returns when the images are durable and the tree is in its final state.</summary>
    /// <exception cref="Kernel.CheckpointException">Nothing was saved; the tree runs as it did.</exception>
    public static DumpResult Run(DumpOptions options) =>
        throw new Kernel.CheckpointException(Kernel.ErrorCode.Internal, "dump is not built yet");
}
