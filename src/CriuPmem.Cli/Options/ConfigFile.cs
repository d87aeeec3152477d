using CriuPmem.Kernel;

namespace CriuPmem.Cli.Options;

/// <summary>A configuration file as criu(8) has it: one option a line, without its dashes; <c>#</c> starts a comment.</summary>
internal static class ConfigFile
{
    /// <summary>Reads the options of a file's text, in their order.</summary>
    /// <param name="text">The file's text.</param>
    /// <param name="path">Its path, for messages.</param>
    /// <param name="warnings">Gets what was met and has no effect.</param>
    /// <exception cref="CheckpointException">A line that cannot be understood; it names file and line.</exception>
    public static List<Occurrence> Parse(string text, string path, ICollection<string> warnings)
    {
        var options = new List<Occurrence>();
        int number = 0;
        foreach (string line in text.Split('\n'))
        {
            number++;
            try
            {
                List<string> words = Split(line);
                if (words.Count == 0) continue;
                // "verbosity=4" and "verbosity 4" are both in use.
                int equals = words[0].IndexOf('=', StringComparison.Ordinal);
                string name = equals < 0 ? words[0] : words[0][..equals];
                string? value = equals >= 0 ? words[0][(equals + 1)..] : words.Count > 1 ? words[1] : null;
                bool isFlag = OptionCatalog.Every.Any(spec => spec.Shape == ValueShape.Flag && (spec.Name == name || spec.NegatedName == name));
                bool strayWord = isFlag && equals < 0 && value is not null && !Values.TryFlag(value, out _);
                Occurrence option = ArgumentReader.ReadNamed(name, strayWord ? null : value);
                if (option.Spec.CommandLineOnly)
                {
                    warnings.Add($"{path}, line {number}: {name} has no effect in a configuration file");
                    continue;
                }

                int wanted = equals >= 0 || strayWord ? 1 : 2;
                if (words.Count > wanted) warnings.Add($"{path}, line {number}: '{string.Join(' ', words.Skip(wanted))}' behind {name} has no effect");
                options.Add(option);
            }
            catch (CheckpointException wrong)
            {
                wrong.Object = $"{path}, line {number}: {wrong.Object}";
                throw;
            }
        }

        return options;
    }

    /// <summary>Splits a line at blanks; double quotes hold blanks together, and <c>\"</c> in them is a quote.</summary>
    internal static List<string> Split(string line)
    {
        var words = new List<string>();
        for (int at = 0; at < line.Length;)
        {
            char c = line[at];
            if (char.IsWhiteSpace(c)) at++;
            else if (c == '#') break;
            else words.Add(c == '"' && words.Count > 0 ? TakeQuoted(line, ref at) : TakePlain(line, ref at));
        }

        return words;
    }

    private static string TakePlain(string line, ref int at)
    {
        int start = at;
        while (at < line.Length && !char.IsWhiteSpace(line[at]) && line[at] != '#')
        {
            if (line[at] is '"' or '\'')
            {
                throw new CheckpointException(ErrorCode.Usage, $"a stray {line[at]}")
                {
                    Object = line.Trim(),
                    Remedy = "Values with blanks in them stand wholly in double quotes.",
                };
            }

            at++;
        }

        return line[start..at];
    }

    private static string TakeQuoted(string line, ref int at)
    {
        var value = new System.Text.StringBuilder();
        for (at++; at < line.Length && line[at] != '"'; at++)
        {
            if (line[at] == '\\' && at + 1 < line.Length && line[at + 1] == '"') at++;
            value.Append(line[at]);
        }

        if (at >= line.Length)
        {
            throw new CheckpointException(ErrorCode.Usage, "a double quote is not closed") { Object = line.Trim() };
        }

        at++;
        return value.ToString();
    }
}
