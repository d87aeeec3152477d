namespace CriuPmem.Engine.Check;

/// <summary>What to check.</summary>
public sealed class CheckOptions
{
    /// <summary>Check category 2 too (--extra).</summary>
    public bool Extra { get; set; }

    /// <summary>Check category 3 too (--experimental).</summary>
    public bool Experimental { get; set; }

    /// <summary>The directory that images shall lie in (for "dax"), or -1.</summary>
    public int ImagesDirectoryFd { get; set; } = -1;
}
