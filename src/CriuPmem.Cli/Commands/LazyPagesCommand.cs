using CriuPmem.Cli.Options;
using CriuPmem.Engine;
using CriuPmem.Engine.Lazy;

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
        return Serving.Run(given, reporter, arguments, options, (session, readiness) =>
        {
            options.OnReady = () =>
            {
                reporter.Say($"waiting for a restore of {session.ImagesDirectory} …");
                return readiness.Tell();
            };
            LazyPagesJob.Run(options);
            return "all memory is there";
        });
    }
}
