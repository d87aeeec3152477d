namespace CriuPmem.Engine.Check;

/// <summary>How much depends on a kernel feature (criu(8), check).</summary>
public enum FeatureCategory
{
    /// <summary>Nothing can be dumped or restored without it (category 1).</summary>
    Needed = 1,

    /// <summary>Only some programs need it, or it makes things faster (category 2).</summary>
    Extra = 2,

    /// <summary>Nothing depends on it yet (category 3).</summary>
    Experimental = 3,
}
