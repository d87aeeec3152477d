using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine;

/// <summary>stats-dump and stats-restore, which engines and people read after an operation.</summary>
internal static class Statistics
{
    /// <summary>Writes the file into the work directory. Failing to do so does not fail the operation.</summary>
    public static void Write(int workDirectory, StatsEntry entry, ImageKind kind)
    {
        try
        {
            new SnapshotWriter(workDirectory, "work directory").WriteSingle(kind, 0, entry);
        }
        catch (CheckpointException)
        {
            // Statistics are a courtesy: the snapshot is complete without them.
        }
    }
}
