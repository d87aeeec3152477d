using CriuPmem.Cli.Hooks;
using CriuPmem.Cli.Options;
using CriuPmem.Cli.Output;
using CriuPmem.Engine;
using CriuPmem.Engine.Transfer;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>criu-pmem page-server.</summary>
internal static class PageServerCommand
{
    /// <summary>Serves one dump; returns the exit code.</summary>
    /// <param name="given">What the user asks for.</param>
    /// <param name="reporter">What is said.</param>
    /// <param name="arguments">How many arguments the program was started with.</param>
    public static int Run(Invocation given, Reporter reporter, int arguments)
    {
        PageServerOptions options = OptionsMapper.ToPageServer(given);
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
                if (options.Remote.Socket < 0) reporter.Say($"waiting for {(options.Serve ? "a lazy-pages daemon" : "a dump")} at {options.Remote.Address ?? "every address"}, port {options.Remote.Port} …");
                return readiness.Tell();
            };
            long received = PageServerJob.Run(options);
            reporter.Say($"{Wording.Size(received)} of memory {(options.Serve ? "sent from" : "received into")} {session.ImagesDirectory}");
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
