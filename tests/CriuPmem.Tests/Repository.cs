using System.Runtime.CompilerServices;

namespace CriuPmem.Tests;

/// <summary>Where the sources of the tests lie: they are run from the tree that they were built in.</summary>
internal static class Repository
{
    public static string Root { get; } = Find();

    public static string PeerImages(string set) =>
        Path.Combine(Root, "tests/CriuPmem.Tests/images/peer-small", set);

    private static string Find([CallerFilePath] string thisFile = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(thisFile)!, "../.."));
}
