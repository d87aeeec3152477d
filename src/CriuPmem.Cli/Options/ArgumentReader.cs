using CriuPmem.Kernel;

namespace CriuPmem.Cli.Options;

/// <summary>Takes a command line apart by the rules of getopt_long(3), which the peer's users and scripts rely on.</summary>
/// <remarks>
/// System.CommandLine has other rules (an optional value may be the next word, prefixes of names are unknown, a value
/// that looks like an option is one). So the words are sorted here, and it gets them in one unmistakable form.
/// </remarks>
internal static class ArgumentReader
{
    private static readonly Dictionary<string, (OptionSpec Spec, bool Negated)> LongNames = CollectLongNames();

    /// <summary>Sorts words into options and others; options may stand anywhere, up to a <c>--</c>.</summary>
    /// <exception cref="CheckpointException">An unknown or ambiguous option, or a value too few or too many.</exception>
    public static Words Read(IReadOnlyList<string> arguments)
    {
        var plain = new List<string>();
        var options = new List<Occurrence>();
        for (int i = 0; i < arguments.Count; i++)
        {
            string word = arguments[i];
            if (word == "--")
            {
                plain.AddRange(arguments.Skip(i + 1));
                break;
            }

            if (word.StartsWith("--", StringComparison.Ordinal)) options.Add(ReadLong(word, arguments, ref i));
            else if (word.Length > 1 && word[0] == '-') ReadShort(word, arguments, ref i, options);
            else plain.Add(word);
        }

        return new Words(plain, options);
    }

    /// <summary>Reads one option by its long name and its value: a line of a configuration file.</summary>
    public static Occurrence ReadNamed(string name, string? value)
    {
        (OptionSpec spec, bool negated) = Find("--" + name, name);
        if (spec.Shape == ValueShape.Flag && value is not null)
        {
            if (!Values.TryFlag(value, out bool on))
            {
                throw new CheckpointException(ErrorCode.Usage, $"'{value}' is neither yes nor no")
                {
                    Object = name,
                    Remedy = "Write yes, true, on or 1, or no, false, off or 0, or the name alone.",
                };
            }

            negated ^= !on;
        }

        if (spec.Shape == ValueShape.Required && string.IsNullOrEmpty(value)) throw NeedsValue(spec);
        return new Occurrence(spec, spec.Shape == ValueShape.Flag ? null : value, negated);
    }

    private static Occurrence ReadLong(string word, IReadOnlyList<string> arguments, ref int index)
    {
        int equals = word.IndexOf('=', StringComparison.Ordinal);
        string? value = equals < 0 ? null : word[(equals + 1)..];
        string name = equals < 0 ? word[2..] : word[2..equals];
        (OptionSpec spec, bool negated) = Find(word, name);
        if (spec.Shape == ValueShape.Flag && value is not null)
        {
            throw new CheckpointException(ErrorCode.Usage, "it takes no value")
            {
                Object = word,
                Remedy = $"Write --{spec.Name} or --{spec.NegatedName}.",
            };
        }

        return new Occurrence(spec, spec.Shape == ValueShape.Required ? TakeValue(spec, value, arguments, ref index) : value, negated);
    }

    private static void ReadShort(string word, IReadOnlyList<string> arguments, ref int index, List<Occurrence> options)
    {
        for (int at = 1; at < word.Length; at++)
        {
            OptionSpec spec = OptionCatalog.Every.FirstOrDefault(spec => spec.Short == word[at]) ?? throw UnknownShort(word, at);
            if (spec.Shape == ValueShape.Flag)
            {
                options.Add(new Occurrence(spec, null, false));
                continue;
            }

            string? rest = at + 1 < word.Length ? word[(at + 1)..] : null;
            if (spec.Shape == ValueShape.Required) rest = TakeValue(spec, rest, arguments, ref index);
            options.Add(new Occurrence(spec, rest, false));
            return;
        }
    }

    private static string TakeValue(OptionSpec spec, string? attached, IReadOnlyList<string> arguments, ref int index)
    {
        if (attached is null && index + 1 < arguments.Count) attached = arguments[++index];
        return string.IsNullOrEmpty(attached) ? throw NeedsValue(spec) : attached;
    }

    private static (OptionSpec Spec, bool Negated) Find(string word, string name)
    {
        if (LongNames.TryGetValue(name, out (OptionSpec Spec, bool Negated) exact)) return exact;
        List<string> candidates = name.Length == 0
            ? []
            : [.. LongNames.Keys.Where(known => known.StartsWith(name, StringComparison.Ordinal))];
        // Several prefixes of the same option ("no-default" of --no-default-config) are no ambiguity.
        if (candidates.Select(known => LongNames[known]).Distinct().Count() == 1) return LongNames[candidates[0]];
        if (candidates.Count > 1)
        {
            throw new CheckpointException(ErrorCode.Usage, "it could be several options")
            {
                Object = word,
                Remedy = $"Write out one of {string.Join(", ", Offered(candidates).Order(StringComparer.Ordinal).Select(known => "--" + known))}.",
            };
        }

        throw Unknown(word, name);
    }

    /// <summary>Those that work; all, when none does.</summary>
    private static List<string> Offered(List<string> candidates)
    {
        List<string> built = candidates.FindAll(known => !LongNames[known].Spec.IsNotBuilt);
        return built.Count > 0 ? built : candidates;
    }

    private static CheckpointException Unknown(string word, string name)
    {
        string? near = Suggestion.For(name, LongNames.Keys);
        return new CheckpointException(ErrorCode.Usage, "no such option")
        {
            Object = word,
            Remedy = near is null ? "criu-pmem --help lists them." : $"Did you mean --{near}?",
        };
    }

    private static CheckpointException UnknownShort(string word, int at)
    {
        // "-leave-running", "-tree": a long name with one dash too few.
        string name = word[1..].Split('=')[0];
        string? near = name.Length < 3 ? null : LongNames.ContainsKey(name) ? name : Suggestion.For(name, LongNames.Keys);
        return new CheckpointException(ErrorCode.Usage, "no such option")
        {
            Object = word.Length == 2 ? word : $"-{word[at]} in {word}",
            Remedy = near is null ? "criu-pmem --help lists them." : $"Did you mean --{near}?",
        };
    }

    private static CheckpointException NeedsValue(OptionSpec spec) =>
        new(ErrorCode.Usage, "it needs a value")
        {
            Object = spec.ToString(),
            Remedy = spec.Short == '\0' ? $"Write {spec} {spec.ValueName}." : $"Write -{spec.Short} {spec.ValueName} or {spec} {spec.ValueName}.",
        };

    private static Dictionary<string, (OptionSpec Spec, bool Negated)> CollectLongNames()
    {
        var names = new Dictionary<string, (OptionSpec, bool)>(OptionCatalog.Every.Count * 2, StringComparer.Ordinal);
        foreach (OptionSpec spec in OptionCatalog.Every)
        {
            names.Add(spec.Name, (spec, false));
            if (spec.IsNegatable) names.Add(spec.NegatedName, (spec, true));
        }

        return names;
    }
}
