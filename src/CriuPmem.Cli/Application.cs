using CriuPmem.Cli.Commands;
using CriuPmem.Cli.Hooks;
using CriuPmem.Cli.Options;
using CriuPmem.Cli.Output;
using CriuPmem.Kernel;

namespace CriuPmem.Cli;

/// <summary>The program: from its arguments to its exit code (0 done, 1 not).</summary>
internal static class Application
{
    private const int StandardOutput = 1;
    private const int StandardError = 2;

    /// <summary>Runs one command.</summary>
    public static int Run(string[] arguments)
    {
        if (PagerCommand.TryParse(arguments, out int planFd)) return PagerCommand.Run(planFd);
        int count = arguments.Length;
        arguments = Background.Take(arguments);
        var reporter = new Reporter();
        try
        {
            Words words = ArgumentReader.Read(Lossless(arguments));
            if (words.Has(OptionCatalog.Version)) return Print(StandardOutput, ProgramVersion.Text, 0);
            if (words.Has(OptionCatalog.Help) || words.Plain.Count == 0 && words.Options.Count == 0) return Help(words);
            Invocation given = Invocation.Parse(words, new ConfigFiles());
            foreach (int fd in given.Get(OptionCatalog.Close)) Syscall.Invoke(SyscallNumber.close, fd);
            return given.Command.Name switch
            {
                "dump" => DumpCommand.Run(given, reporter),
                "pre-dump" => DumpCommand.Run(given, reporter, preDump: true),
                "page-server" => PageServerCommand.Run(given, reporter, count),
                "lazy-pages" => LazyPagesCommand.Run(given, reporter, count),
                "dedup" => DedupCommand.Run(given, reporter),
                "decompress" => DecompressCommand.Run(given, reporter),
                "estimate" => EstimateCommand.Run(given, reporter),
                "pmem" => PmemCommand.Run(given, reporter),
                "restore" => RestoreCommand.Run(given, reporter),
                "cpuinfo dump" or "cpuinfo check" => CpuInfoCommand.Run(given, reporter),
                _ => CheckCommand.Run(given, reporter),
            };
        }
        catch (Exception ended) when (ended is not OutOfMemoryException)
        {
            reporter.Fail(AsFailure(ended, reporter.Log ?? EngineLog.None));
        }

        return 1;
    }

    /// <summary>A fault of our own becomes a sentence too; its trace goes to the log (-v4).</summary>
    internal static CheckpointException AsFailure(Exception ended, EngineLog log)
    {
        if (ended is CheckpointException failure) return ResourceLimit.Explain(failure);
        log.Debug("criu-pmem", $"{ended}");
        return new CheckpointException(ErrorCode.Internal, $"a fault of criu-pmem itself: {ended.GetType().Name}: {ended.Message}")
        {
            Remedy = "Please report it, with the log that -v4 -o FILE writes.",
        };
    }

    /// <summary>1; or, as shells tell it, 128 + the signal that ended it.</summary>
    internal static int ExitCode(CheckpointException failure) => failure.Code == ErrorCode.Interrupted ? 128 + Interruption.Signal : 1;

    private static int Help(Words words)
    {
        CommandSpec? command = words.Plain.Count == 0 ? null : CommandSpec.Find(words.Plain);
        // Without any argument it is a mistake, as with the peer.
        return words.Has(OptionCatalog.Help)
            ? Print(StandardOutput, HelpText.Build(command, Terminal.WantsColour(StandardOutput)), 0)
            : Print(StandardError, HelpText.BuildShort(Terminal.WantsColour(StandardError)), 1);
    }

    private static int Print(int fd, string text, int exitCode)
    {
        Terminal.Write(fd, text);
        return exitCode;
    }

    /// <summary>The arguments as the kernel has them: the runtime replaces bytes that are not UTF-8, of which paths may consist.</summary>
    private static string[] Lossless(string[] arguments)
    {
        if (!arguments.Any(static argument => argument.Contains('\uFFFD'))) return arguments;
        if (SmallFile.TryRead("/proc/self/cmdline", out byte[] all).Failed) return arguments;
        var raw = new List<string>();
        foreach (Range range in all.AsSpan()[..^1].Split((byte)0)) raw.Add(LinuxText.Decode(all.AsSpan(range)));
        // The words in front are the program's own (one, or two under "dotnet criu-pmem.dll").
        return raw.Count >= arguments.Length ? [.. raw.Skip(raw.Count - arguments.Length)] : arguments;
    }
}
