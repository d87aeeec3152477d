namespace CriuPmem.Cli;

/// <summary>Versions, as --version prints them.</summary>
internal static class ProgramVersion
{
    /// <summary>The version of CRIU whose command line and images this program has.</summary>
    public const string Compatible = "4.2";

    /// <summary>The program's own version.</summary>
    public static string Own { get; } = typeof(ProgramVersion).Assembly.GetName().Version?.ToString(3) ?? "unknown";

    /// <summary>What --version prints: tools read the first line, which has the peer's shape.</summary>
    public static string Text => $"Version: {Compatible}\ncriu-pmem {Own}, with CRIU {Compatible}'s command line and image format\n";
}
