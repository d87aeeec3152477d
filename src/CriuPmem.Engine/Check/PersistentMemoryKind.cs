namespace CriuPmem.Engine.Check;

/// <summary>What kind of memory a directory's files lie on.</summary>
public enum PersistentMemoryKind
{
    /// <summary>A disk or another file system behind the page cache.</summary>
    None,

    /// <summary>A tmpfs, which stands in for persistent memory: as fast, gone at power loss.</summary>
    Tmpfs,

    /// <summary>A DAX file system: files are mapped straight from persistent memory.</summary>
    Dax,
}
