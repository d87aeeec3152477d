using CriuPmem.Cli.Options;
using CriuPmem.Cli.Output;
using CriuPmem.Engine;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>criu-pmem pmem.</summary>
internal static class PmemCommand
{
    private const int StandardOutput = 1;

    /// <summary>Tells what a directory offers; returns the exit code.</summary>
    public static int Run(Invocation given, Reporter reporter)
    {
        Interruption.Begin();
        using Session session = Session.Open(given, reporter);
        try
        {
            PmemReport report = PmemJob.Run(session.ImagesFd, session.ImagesDirectory, session.Log);
            Terminal.Write(StandardOutput, given.Get(OptionCatalog.Json) ? PmemText.Json(report, session.ImagesDirectory) : PmemText.Plain(report, session.ImagesDirectory));
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
