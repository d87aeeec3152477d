using CriuPmem.Cli.Options;
using CriuPmem.Cli.Output;
using CriuPmem.Engine;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>criu-pmem decompress.</summary>
internal static class DecompressCommand
{
    /// <summary>Decompresses the pages of a snapshot; returns the exit code.</summary>
    public static int Run(Invocation given, Reporter reporter)
    {
        Interruption.Begin();
        using Session session = Session.Open(given, reporter);
        try
        {
            long bytes = DecompressJob.Run(session.ImagesFd, session.ImagesDirectory, session.Log);
            reporter.Say(bytes == 0 ? $"nothing in {session.ImagesDirectory} is compressed" : $"{Wording.Size(bytes)} of memory in {session.ImagesDirectory} are no longer compressed");
            return 0;
        }
        catch (Exception ended) when (ended is not OutOfMemoryException)
        {
            CheckpointException failure = session.Complete(ended);
            reporter.Fail(failure);
            return Application.ExitCode(failure);
        }
    }
}
