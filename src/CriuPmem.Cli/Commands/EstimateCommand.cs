using CriuPmem.Cli.Options;
using CriuPmem.Cli.Output;
using CriuPmem.Engine;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>criu-pmem estimate.</summary>
internal static class EstimateCommand
{
    private const int StandardOutput = 1;

    /// <summary>Tells what a dump would cost; returns the exit code.</summary>
    public static int Run(Invocation given, Reporter reporter)
    {
        EstimateOptions options = OptionsMapper.ToEstimate(given);
        Interruption.Begin();
        using Session session = Session.Open(given, reporter);
        session.Fill(options);
        try
        {
            EstimateResult result = EstimateJob.Run(options);
            Terminal.Write(StandardOutput, given.Get(OptionCatalog.Json) ? EstimateText.Json(result) : EstimateText.Plain(result, session.ImagesDirectory));
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
