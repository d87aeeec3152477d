using CriuPmem.Cli.Options;
using CriuPmem.Cli.Output;
using CriuPmem.Engine;
using CriuPmem.Engine.Transfer;

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
        return Serving.Run(given, reporter, arguments, options, (session, readiness) =>
        {
            Func<bool> tell = readiness.At(options.Remote);
            options.OnReady = () =>
            {
                if (options.Remote.Socket < 0) reporter.Say($"waiting for {(options.Serve ? "a lazy-pages daemon" : "a dump")} at {options.Remote.Address ?? "every address"}, port {options.Remote.Port} …");
                return tell();
            };
            long received = PageServerJob.Run(options);
            return $"{Wording.Size(received)} of memory {(options.Serve ? "sent from" : "received into")} {session.ImagesDirectory}";
        });
    }
}
