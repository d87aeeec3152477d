namespace CriuPmem.Engine.Restore;

/// <summary>Directories that are there only while a deleted file is made in them: they were deleted with it.</summary>
internal sealed class TemporaryDirectories : IDisposable
{
    private readonly Stack<string> _made = [];

    /// <summary>Makes a directory, and those above it, where they are missing.</summary>
    public void Need(string path)
    {
        if (!Sys.Stat(AT_FDCWD, path, out _).Failed) return;
        if (path.LastIndexOf('/') is > 0 and int slash) Need(path[..slash]);
        Sys.MakeDirectory(AT_FDCWD, path, 0x1C0).OrThrow("mkdir", path);
        _made.Push(path);
    }

    /// <summary>Removes what was made.</summary>
    public void Dispose()
    {
        foreach (string path in _made) Sys.Unlink(AT_FDCWD, path, AT_REMOVEDIR);
    }
}
