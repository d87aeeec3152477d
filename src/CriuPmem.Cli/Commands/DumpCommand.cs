using CriuPmem.Cli.Options;
using CriuPmem.Cli.Output;
using CriuPmem.Engine;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>criu-pmem dump, and pre-dump.</summary>
internal static class DumpCommand
{
    private const int StandardOutput = 1;

    /// <summary>Dumps; returns the exit code.</summary>
    public static int Run(Invocation given, Reporter reporter, bool preDump = false)
    {
        DumpOptions options = OptionsMapper.ToDump(given);
        Privileges.Read().Require("dump", options.Unprivileged);
        Interruption.Begin();
        using Session session = Session.Open(given, reporter);
        session.Fill(options);
        options.OnProgress = reporter.Say;
        Readiness? readiness = null;
        try
        {
            if (options.Lazy is not null)
            {
                readiness = new Readiness(given, session);
                options.OnReady = readiness.At(options.Lazy);
            }

            using StreamSpool? spool = given.Get(OptionCatalog.Stream) ? StreamSpool.ForDump(options) : null;
            reporter.Say($"{(preDump ? "saving the memory of" : "dumping")} {Describe(options.Pid)} …");
            DumpResult result = preDump ? PreDumpJob.Run(options) : DumpJob.Run(options);
            reporter.Say(Wording.Dumped(result, options.ImagesDirectory, preDump));
            if (given.Get(OptionCatalog.DisplayStats)) Terminal.Write(StandardOutput, StatsReport.Dump(session.WorkFd, result));
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

    private static string Describe(int pid)
    {
        bool known = !SmallFile.TryRead($"/proc/{pid}/comm", out byte[] comm).Failed;
        return known ? $"{LinuxText.Decode(comm).TrimEnd('\n')} ({pid})" : $"process {pid}";
    }
}
