namespace CriuPmem.Cli.Options;

/// <summary>An option as it was met once, on the command line or in a configuration file.</summary>
/// <param name="Spec">Which option.</param>
/// <param name="Value">Its value, or null when none was attached.</param>
/// <param name="Negated">It was written with <c>--no-</c>.</param>
internal readonly record struct Occurrence(OptionSpec Spec, string? Value, bool Negated);
