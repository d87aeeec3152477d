using CriuPmem.Cli.Options;
using CriuPmem.Cli.Output;
using CriuPmem.Engine.Check;
using CriuPmem.Kernel;
using Spectre.Console;

namespace CriuPmem.Cli.Commands;

/// <summary>criu-pmem check.</summary>
internal static unsafe class CheckCommand
{
    private const int StandardOutput = 1;

    /// <summary>Checks; returns the exit code: 0 when everything asked for is there.</summary>
    public static int Run(Invocation given, Reporter reporter)
    {
        int level = given.Get(OptionCatalog.Verbosity);
        reporter.Silent = level == EngineLog.LevelMessage;
        var log = new EngineLog(2, level);
        reporter.Log = log;
        string? feature = given.Get(OptionCatalog.Feature);
        if (feature == "list") return List();

        Privileges.Read().Require("check", given.Get(OptionCatalog.Unprivileged));
        bool all = given.Get(OptionCatalog.All);
        var options = new CheckOptions
        {
            Extra = all || given.Get(OptionCatalog.Extra),
            Experimental = all || given.Get(OptionCatalog.Experimental),
            ImagesDirectoryFd = OpenDirectory(given),
        };
        return feature is null ? Everything(options, reporter, log) : One(feature, options, reporter);
    }

    private static int One(string name, CheckOptions options, Reporter reporter)
    {
        FeatureResult result = CheckJob.RunOne(name, options);
        if (!result.IsSupported) reporter.Warn("check", $"{result.Name}: {result.Missing}");
        Terminal.Write(StandardOutput, $"{name} is {(result.IsSupported ? "" : "not ")}supported\n");
        return result.IsSupported ? 0 : 1;
    }

    private static int Everything(CheckOptions options, Reporter reporter, EngineLog log)
    {
        IReadOnlyList<FeatureResult> results = CheckJob.Run(options);
        foreach (FeatureResult result in results)
        {
            if (result.IsSupported) log.Info("check", $"{result.Name}: there ({result.Purpose})");
            else reporter.Warn("check", $"{result.Name} is missing ({result.Purpose}): {result.Missing}");
        }

        if (results.All(static result => result.IsSupported))
        {
            Terminal.Write(StandardOutput, "Looks good.\n");
            return 0;
        }

        bool usable = results.All(static result => result.IsSupported || result.Category != FeatureCategory.Needed);
        Terminal.Write(StandardOutput, usable
            ? "Looks good but some kernel features are missing\nwhich, depending on your process tree, may cause\ndump or restore failure.\n"
            : "Does not look good.\n");
        return 1;
    }

    private static int List()
    {
        IReadOnlyList<FeatureResult> features = CheckJob.List();
        if (!Terminal.Is(StandardOutput))
        {
            Terminal.Write(StandardOutput, string.Concat(features.Select(static feature => feature.Name + "\n")));
            return 0;
        }

        var table = new Table { Border = TableBorder.None };
        table.AddColumns("Feature", "Category", "What for");
        foreach (FeatureResult feature in features) table.AddRow(feature.Name, feature.Category.ToString().ToLowerInvariant(), Markup.Escape(feature.Purpose));
        var people = new People(StandardOutput);
        people.Console.Write(table);
        people.Flush();
        return 0;
    }

    private static int OpenDirectory(Invocation given)
    {
        const int O_DIRECTORY_CLOEXEC = 0x90000, AT_FDCWD = -100;
        if (given.Get(OptionCatalog.ImagesDirectory) is not string path) return -1;
        fixed (byte* name = LinuxText.EncodeZ(path))
        {
            SysResult opened = Syscall.Invoke(SyscallNumber.openat, AT_FDCWD, (long)name, O_DIRECTORY_CLOEXEC);
            return opened.Failed
                ? throw new CheckpointException(ErrorCode.ImagesDirectory, "the directory cannot be opened") { Operation = "check", Object = path, Errno = opened.Errno }
                : opened.Value;
        }
    }
}
