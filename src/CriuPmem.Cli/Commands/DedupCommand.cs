using CriuPmem.Cli.Options;
using CriuPmem.Cli.Output;
using CriuPmem.Engine;

namespace CriuPmem.Cli.Commands;

/// <summary>criu-pmem dedup.</summary>
internal static class DedupCommand
{
    /// <summary>Frees pages of earlier snapshots; returns the exit code.</summary>
    public static int Run(Invocation given, Reporter reporter)
    {
        using Session session = Session.Open(given, reporter);
        try
        {
            long freed = DedupJob.Run(session.ImagesFd, session.ImagesDirectory, session.Log);
            reporter.Say($"freed {Wording.Size(freed)} in the snapshots before {session.ImagesDirectory}");
            return 0;
        }
        catch (Exception ended) when (ended is not OutOfMemoryException)
        {
            reporter.Fail(session.Complete(ended));
            return 1;
        }
    }
}
