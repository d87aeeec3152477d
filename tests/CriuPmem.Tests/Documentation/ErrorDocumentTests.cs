using System.Text.RegularExpressions;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Documentation;

/// <summary>docs/errors.md lists every code, and no other.</summary>
public sealed class ErrorDocumentTests
{
    [Fact]
    public void Document_EveryCode_IsListedOnce()
    {
        string text = File.ReadAllText(Path.Combine(Repository.Root, "docs", "errors.md"));
        IEnumerable<string> listed = Regex.Matches(text, @"^\| CP(\d+) \| (\w+) \|", RegexOptions.Multiline)
            .Select(match => $"{match.Groups[2].Value} = {match.Groups[1].Value}");
        IEnumerable<string> known = Enum.GetValues<ErrorCode>().Select(code => $"{code} = {(int)code}");
        Assert.Equal(known.Order(StringComparer.Ordinal), listed.Order(StringComparer.Ordinal));
    }
}
