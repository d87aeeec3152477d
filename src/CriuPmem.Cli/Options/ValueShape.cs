namespace CriuPmem.Cli.Options;

/// <summary>Whether an option takes a value, in the sense of getopt_long(3).</summary>
internal enum ValueShape
{
    /// <summary>None: it is on or, with <c>--no-</c>, off.</summary>
    Flag,

    /// <summary>One that must be attached: <c>-v4</c>, <c>--cpu-cap=ins</c>.</summary>
    Optional,

    /// <summary>One, attached or as the next word.</summary>
    Required,
}
