namespace CriuPmem.Cli.Options;

/// <summary>What <see cref="ArgumentReader"/> found: the words that are no options, and the options, each in their order.</summary>
/// <param name="Plain">Words that are no options: the command, and what should not be there.</param>
/// <param name="Options">The options.</param>
internal sealed record Words(IReadOnlyList<string> Plain, IReadOnlyList<Occurrence> Options)
{
    /// <summary>True when the option was given, and not taken back afterwards.</summary>
    public bool Has(OptionSpec spec)
    {
        for (int i = Options.Count - 1; i >= 0; i--)
        {
            if (Options[i].Spec == spec) return !Options[i].Negated;
        }

        return false;
    }

    /// <summary>The value of the option's last occurrence, or null.</summary>
    public string? Last(OptionSpec spec) => Options.LastOrDefault(one => one.Spec == spec).Value;
}
