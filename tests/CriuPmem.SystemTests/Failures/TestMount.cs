namespace CriuPmem.SystemTests.Failures;

/// <summary>A small file system in memory, which goes with the test.</summary>
internal sealed class TestMount : IDisposable
{
    public TestMount(string path, string options)
    {
        Path = path;
        if (Command.Run("/bin/mount", ["-t", "tmpfs", "-o", options, "tmpfs", path], Engine.Limit).ExitCode != 0)
            Assert.Skip("not here: mounting is not allowed");
    }

    /// <summary>Where it is.</summary>
    public string Path { get; }

    public void Dispose() => Command.Run("/bin/umount", ["-l", Path], Engine.Limit);
}
