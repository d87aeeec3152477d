using System.CommandLine;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Options;

/// <summary>What the user asks for: a command, and a value for every option.</summary>
internal sealed class Invocation
{
    private readonly ParseResult _parsed;

    private Invocation(CommandSpec command, ParseResult parsed, IReadOnlyList<string> warnings)
    {
        Command = command;
        Warnings = warnings;
        _parsed = parsed;
    }

    /// <summary>The command.</summary>
    public CommandSpec Command { get; }

    /// <summary>What was met in configuration files and has no effect.</summary>
    public IReadOnlyList<string> Warnings { get; }

    /// <summary>The value of an option, its default when it was not given.</summary>
    public T Get<T>(OptionSpec<T> spec) =>
        (_parsed.GetResult(spec.Typed) is null ? spec.Default : _parsed.GetValue(spec.Typed))!;

    /// <summary>True when the option was given.</summary>
    public bool Has(OptionSpec spec) => _parsed.GetResult(spec.Option) is not null;

    /// <summary>Understands a command line together with the configuration files.</summary>
    /// <exception cref="CheckpointException">Something is wrong, or not built yet; the message names the option.</exception>
    public static Invocation Parse(Words words, ConfigFiles files)
    {
        CommandSpec command = FindCommand(words.Plain);
        List<Occurrence> options = files.Merge(words);
        if (command.TakesDirectory && words.Plain.Count > command.WordCount) options.Add(new Occurrence(OptionCatalog.ImagesDirectory, words.Plain[command.WordCount], Negated: false));
        if (command.Instead is not null)
        {
            throw new CheckpointException(ErrorCode.OptionNotBuilt, $"this command ({command.Help}) is not built in this version yet")
            {
                Object = command.Name,
                Remedy = command.Instead,
            };
        }

        List<string> tokens = [command.Token, .. Canonical(options)];
        ParseResult parsed = BuildRoot(command, options).Parse(tokens, new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Errors.Count > 0) throw new CheckpointException(ErrorCode.Usage, parsed.Errors[0].Message);
        return new Invocation(command, parsed, files.Warnings);
    }

    private static CommandSpec FindCommand(IReadOnlyList<string> plain)
    {
        if (plain.Count == 0)
        {
            throw new CheckpointException(ErrorCode.Usage, "no command is given")
            {
                Remedy = "Write criu-pmem dump, restore or check; criu-pmem --help tells more.",
            };
        }

        CommandSpec? command = CommandSpec.Find(plain);
        if (command is null)
        {
            if (plain[0] == "cpuinfo")
            {
                throw new CheckpointException(ErrorCode.Usage, "cpuinfo does one of two things") { Object = plain[0], Remedy = "Write cpuinfo dump or cpuinfo check." };
            }

            string? near = Suggestion.For(plain[0], CommandSpec.Every.Select(static one => one.Name));
            throw new CheckpointException(ErrorCode.Usage, "no such command")
            {
                Object = plain[0],
                Remedy = near is null ? "The commands are dump, restore and check." : $"Did you mean {near}?",
            };
        }

        int most = command.WordCount + (command.TakesDirectory ? 1 : 0);
        if (plain.Count > most && command.Instead is null)
        {
            throw new CheckpointException(ErrorCode.Usage, command.TakesDirectory ? $"{command.Name} takes one directory" : $"{command.Name} takes options only")
            {
                Object = plain[most],
                Remedy = Misplaced(plain[most]),
            };
        }

        return command;
    }

    // dump 1234, dump -v 4, restore DIR, --cpu-cap ins: what people write who do not know the peer by heart.
    private static string Misplaced(string word) => word.Split(':')[0] is "lz4" or "zstd"
        ? $"The method of compression is attached: --compress={word}, or -c={word}."
        : Values.TryWhole(word, out _)
        ? $"A process is given with -t {word}; a level of verbosity is attached: -v{word}."
        : "A directory is given with -D; the value of -v and --cpu-cap is attached: -v4, --cpu-cap=ins.";

    /// <summary>The options in one form that can only be read one way; of those that count once, the last.</summary>
    private static IEnumerable<string> Canonical(List<Occurrence> options)
    {
        var last = new Dictionary<OptionSpec, Occurrence>();
        foreach (Occurrence one in options)
        {
            if (one.Spec.IsNotBuilt && !one.Negated) RefuseUnlessTakenBack(one.Spec, options);
            last[one.Spec] = one;
        }

        foreach (Occurrence one in options.Where(one => one.Spec.Repeatable)) yield return $"{one.Spec}={Value(one)}";
        foreach (Occurrence one in last.Values.Where(one => !one.Spec.Repeatable))
        {
            if (one.Spec == OptionCatalog.Verbosity) yield return $"{one.Spec}={Verbosity(options)}";
            else if (one.Spec.Shape == ValueShape.Flag) yield return $"{one.Spec}={(one.Negated ? "false" : "true")}";
            else yield return $"{one.Spec}={Value(one)}";
        }

        static string? Value(Occurrence one) => one.Spec.Shape == ValueShape.Optional && string.IsNullOrEmpty(one.Value) ? "all" : one.Value;
    }

    private static void RefuseUnlessTakenBack(OptionSpec spec, List<Occurrence> options)
    {
        if (options.Last(one => one.Spec == spec).Negated) return;
        throw new CheckpointException(ErrorCode.OptionNotBuilt, $"this option ({spec.Help}) is not built in this version yet")
        {
            Object = spec.ToString(),
            Remedy = spec.Instead,
        };
    }

    /// <summary>-v adds one to the level before it, -vv two; -vNUM sets it.</summary>
    private static string Verbosity(List<Occurrence> options)
    {
        int level = EngineLog.LevelWarn;
        foreach (Occurrence one in options.Where(static one => one.Spec == OptionCatalog.Verbosity))
        {
            if (one.Value is null) level++;
            else if (one.Value.All(static c => c == 'v')) level += one.Value.Length + 1;
            else if (Values.TryWhole(one.Value, out long set)) level = (int)Math.Min(set, EngineLog.LevelDebug);
            else return one.Value;
        }

        return level.ToString();
    }

    /// <summary>The grammar for System.CommandLine, of no more options than were given: building all costs time at every start.</summary>
    private static Command BuildRoot(CommandSpec command, List<Occurrence> options)
    {
        var root = new Command("criu-pmem");
        root.Subcommands.Add(new Command(command.Token, command.Help));
        foreach (OptionSpec spec in options.Select(static one => one.Spec).Distinct()) root.Options.Add(spec.Option);
        return root;
    }
}
