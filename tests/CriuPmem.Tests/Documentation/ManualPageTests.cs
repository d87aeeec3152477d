namespace CriuPmem.Tests.Documentation;

/// <summary>docs/criu-pmem.8 is what man(7) understands.</summary>
public sealed class ManualPageTests
{
    private static readonly string[] s_macros = [".TH", ".SH", ".SS", ".TP", ".B", ".I", ".BR", ".RB", ".nf", ".fi", ".\\\""];

    /// <summary>A line that begins with a dot, or an apostrophe, and no macro vanishes from the page.</summary>
    [Fact]
    public void Lines_ThatBeginWithADot_AreMacros()
    {
        string[] lines = File.ReadAllLines(Path.Combine(Repository.Root, "docs", "criu-pmem.8"));
        Assert.DoesNotContain(lines, static line => line.StartsWith('\'') || (line.StartsWith('.') && !s_macros.Contains(line.Split(' ')[0])));
    }

    [Theory]
    [InlineData("dump")]
    [InlineData("pre-dump")]
    [InlineData("restore")]
    [InlineData("dedup")]
    [InlineData("page-server")]
    [InlineData("lazy-pages")]
    [InlineData("decompress")]
    [InlineData("estimate")]
    [InlineData("pmem")]
    [InlineData("check")]
    [InlineData("cpuinfo")]
    public void Synopsis_HasEveryCommand(string command)
    {
        string page = File.ReadAllText(Path.Combine(Repository.Root, "docs", "criu-pmem.8")).Replace("\\-", "-", StringComparison.Ordinal);
        string synopsis = page.Split(".SH SYNOPSIS")[1].Split(".SH ")[0];
        Assert.Matches($@"(?m)^\\fBcriu-pmem {command}\b", synopsis);
    }
}
