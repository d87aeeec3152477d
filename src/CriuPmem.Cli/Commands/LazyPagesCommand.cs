using CriuPmem.Cli.Hooks;
using CriuPmem.Cli.Options;
using CriuPmem.Engine;
using CriuPmem.Engine.Lazy;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>criu-pmem lazy-pages.</summary>
internal static class LazyPagesCommand
{
    /// <summary>Serves one restore; returns the exit code.</summary>
    /// <param name="given">What the user asks for.</param>
    /// <param name="reporter">What is said.</param>
    /// <param name="arguments">How many arguments the program was started with.</param>
    public static int Run(Invocation given, Reporter reporter, int arguments)
    {
        LazyPagesOptions options = OptionsMapper.ToLazyPages(given);
        if (given.Get(RemoteCatalog.Daemon) && !Background.IsHere) return Background.Start(arguments);
        Interruption.Begin();
        using Session session = Session.Open(given, reporter);
        session.Fill(options);
        Readiness? readiness = null;
        try
        {
            readiness = new Readiness(given, session);
            options.OnReady = () =>
            {
                reporter.Say($"waiting for a restore of {session.ImagesDirectory} …");
                return readiness.Tell();
            };
            LazyPagesJob.Run(options);
            reporter.Say("all memory is there");
            return 0;
        }
        catch (Exception ended) when (ended is not OutOfMemoryException)
        {
            readiness?.TakeBack();
            CheckpointException failure = session.Complete(ended);
            reporter.Fail(failure);
            return Application.ExitCode(failure);
        }
        finally
        {
            readiness?.Dispose();
        }
    }
}
