using CriuPmem.Cli.Hooks;
using CriuPmem.Cli.Options;
using CriuPmem.Cli.Output;
using CriuPmem.Engine;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>criu-pmem restore.</summary>
internal static class RestoreCommand
{
    private const int StandardOutput = 1;

    /// <summary>Restores, and waits for the root process unless told not to; returns the exit code.</summary>
    /// <remarks>As with the peer the exit code tells of the restore, not of how the program ended later.</remarks>
    public static int Run(Invocation given, Reporter reporter)
    {
        RestoreOptions options = OptionsMapper.ToRestore(given);
        Privileges.Read().Require("restore", options.Unprivileged);
        Interruption.Begin();
        using Session session = Session.Open(given, reporter);
        session.Fill(options);
        PidFile? pidFile = null;
        try
        {
            using StreamSpool? spool = given.Get(OptionCatalog.Stream) ? StreamSpool.ForRestore(options) : null;
            if (given.Get(OptionCatalog.PidFile) is string path) pidFile = new PidFile(session.WorkFd, path);
            if (pidFile is not null) options.OnHook = WithPidFile(options.OnHook, pidFile);
            // A restored shell job owns the terminal from the moment it runs: nothing is written into its screen.
            bool quiet = options is { ShellJob: true, Detached: false };
            if (!quiet) reporter.Say($"restoring from {options.ImagesDirectory} …");
            RestoreResult result = RestoreJob.Run(options);
            pidFile?.Write(result.RootPid);
            if (!quiet) reporter.Say(Wording.Restored(result));
            if (given.Get(OptionCatalog.DisplayStats)) Terminal.Write(StandardOutput, StatsReport.Restore(session.WorkFd, result));
            if (options.Detached) return 0; // a signal that came too late to undo anything has nothing left to end
            Interruption.End(); // they end the waiting
            ChildExit.WaitForAny(result.RootPid);
            return 0;
        }
        catch (Exception ended) when (ended is not OutOfMemoryException)
        {
            pidFile?.Remove();
            CheckpointException failure = session.Complete(ended);
            reporter.Fail(failure);
            return Application.ExitCode(failure);
        }
        finally
        {
            pidFile?.Dispose();
        }
    }

    // The file is there before any script that may want to read it, and before the tree runs.
    private static Func<string, int, bool> WithPidFile(Func<string, int, bool> next, PidFile pidFile) => (stage, rootPid) =>
    {
        pidFile.Write(rootPid);
        return next(stage, rootPid);
    };
}
