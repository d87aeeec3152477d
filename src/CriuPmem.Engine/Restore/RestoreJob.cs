namespace CriuPmem.Engine;

/// <summary>A restore: from an images directory to a running tree.</summary>
public static class RestoreJob
{
    /// <summary>Restores; returns when the tree runs (it does not wait for its end: the caller does).</summary>
    /// <exception cref="Kernel.CheckpointException">Nothing was left behind, and the images are untouched.</exception>
    public static RestoreResult Run(RestoreOptions options) =>
        throw new Kernel.CheckpointException(Kernel.ErrorCode.Internal, "restore is not built yet");
}
