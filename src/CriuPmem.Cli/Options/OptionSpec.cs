using System.CommandLine;

namespace CriuPmem.Cli.Options;

/// <summary>One option: its names and value for getopt's rules, its type for System.CommandLine, its words for the help.</summary>
internal abstract class OptionSpec
{
    /// <summary>The long name without dashes: <c>images-dir</c>.</summary>
    public required string Name { get; init; }

    /// <summary>The short name, or NUL.</summary>
    public char Short { get; init; }

    /// <summary>Whether it takes a value.</summary>
    public ValueShape Shape { get; init; }

    /// <summary>The value's name in the help: <c>DIR</c>.</summary>
    public string ValueName { get; init; } = "";

    /// <summary>What it does, for the help: starts in lower case, has no full stop.</summary>
    public required string Help { get; init; }

    /// <summary>Where it stands in the help.</summary>
    public OptionGroup Group { get; init; }

    /// <summary>It may be given several times, and all count; else the last one counts.</summary>
    public bool Repeatable { get; init; }

    /// <summary>It makes no sense in a configuration file.</summary>
    public bool CommandLineOnly { get; init; }

    /// <summary>What to do instead, for an option that this version refuses.</summary>
    public string? Instead { get; init; }

    /// <summary>True for an option of the peer that this version knows and refuses.</summary>
    public bool IsNotBuilt => Group == OptionGroup.NotBuilt;

    /// <summary>True when <c>--no-NAME</c> takes it back.</summary>
    public bool IsNegatable => Shape == ValueShape.Flag;

    /// <summary>What <c>--no-</c> makes of the name: <c>no-default-config</c> is itself a negation.</summary>
    public string NegatedName => Name.StartsWith("no-", StringComparison.Ordinal) ? Name[3..] : "no-" + Name;

    /// <summary>The same option for System.CommandLine.</summary>
    public abstract Option Option { get; }

    /// <summary>The option as a user writes it: <c>--images-dir</c>.</summary>
    public override string ToString() => "--" + Name;
}
