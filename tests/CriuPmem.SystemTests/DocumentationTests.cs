using System.Text.RegularExpressions;

namespace CriuPmem.SystemTests;

/// <summary>--help, the manual page and docs/usage.md tell of the same commands and options.</summary>
public sealed class DocumentationTests
{
    private const string Pattern = @"--[a-z][a-z-]*[a-z]";

    [Theory]
    [InlineData("criu-pmem.8", @"^(?:\\fB-\w\\fR, )?\\fB(--[a-z-]+)")]
    [InlineData("usage.md", @"^\| `(?:-\w, )?(--[a-z-]+)")]
    public void Options_AreThoseOfTheHelp(string document, string pattern)
    {
        string text = File.ReadAllText(Path.Combine(Machine.Top, "docs", document)).Replace(@"\-", "-", StringComparison.Ordinal);
        IEnumerable<string> told = Regex.Matches(text, pattern, RegexOptions.Multiline).Select(match => match.Groups[1].Value);
        Assert.Equal(HelpOptions().Order(StringComparer.Ordinal), told.Order(StringComparer.Ordinal));
        foreach (string command in (string[])["dump", "restore", "pre-dump", "dedup", "check"])
            Assert.Matches($@"(?m)^(\.B {command}|\| `{command}`)", text);
    }

    // Those that stand at the beginning of a line of the help.
    private static List<string> HelpOptions()
    {
        Command help = Command.Run(Engine.Ours.Program, ["--help"], Engine.Limit);
        Assert.Equal(0, help.ExitCode);
        string works = help.Output.Split("Known from CRIU")[0];
        return [.. Regex.Matches(works, $"^ {{2,6}}(?:-\\w, )?({Pattern})", RegexOptions.Multiline).Select(match => match.Groups[1].Value)];
    }
}
