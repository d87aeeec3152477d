namespace CriuPmem.SystemTests.Remote;

/// <summary>Images that two machines have in parts.</summary>
internal static class Images
{
    /// <summary>Copies what a dump wrote to where its pages are, as one does before the restore there.</summary>
    public static void Join(string dumped, string received)
    {
        foreach (string file in Directory.EnumerateFiles(dumped, "*.img"))
            File.Copy(file, Path.Combine(received, Path.GetFileName(file)), overwrite: false);
    }

    /// <summary>Expects that there are images of pages, or that there are none.</summary>
    public static void ExpectPages(string directory, bool any)
    {
        string[] found = [.. Directory.EnumerateFiles(directory).Select(Path.GetFileName).Where(name => name!.StartsWith("page", StringComparison.Ordinal) && name.EndsWith(".img", StringComparison.Ordinal))!];
        if (any)
            Assert.NotEmpty(found);
        else
            Assert.Empty(found);
    }
}
