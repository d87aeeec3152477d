using CriuPmem.Cli.Hooks;
using CriuPmem.Cli.Options;
using CriuPmem.Engine;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>What the commands that serve have in common: they may go into the background, and tell when they serve.</summary>
internal static class Serving
{
    /// <summary>Serves; returns the exit code.</summary>
    /// <param name="given">What the user asks for.</param>
    /// <param name="reporter">What is said.</param>
    /// <param name="arguments">How many arguments the program was started with.</param>
    /// <param name="options">The operation's options; what the session holds is filled in.</param>
    /// <param name="serve">Serves, and returns what is to be said of it.</param>
    public static int Run(Invocation given, Reporter reporter, int arguments, CommonOptions options, Func<Session, Readiness, string> serve)
    {
        if (given.Get(RemoteCatalog.Daemon) && !Background.IsHere) return Background.Start(arguments);
        Interruption.Begin();
        using Session session = Session.Open(given, reporter);
        session.Fill(options);
        Readiness? readiness = null;
        try
        {
            readiness = new Readiness(given, session);
            reporter.Say(serve(session, readiness));
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
