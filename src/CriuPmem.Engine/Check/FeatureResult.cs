namespace CriuPmem.Engine.Check;

/// <summary>What the probe of one kernel feature found.</summary>
/// <param name="Name">The feature.</param>
/// <param name="Purpose">What it is for.</param>
/// <param name="Category">How much depends on it.</param>
/// <param name="Missing">Why it is not there, in plain words; null when it is.</param>
public sealed record FeatureResult(string Name, string Purpose, FeatureCategory Category, string? Missing)
{
    /// <summary>True when the kernel has it.</summary>
    public bool IsSupported => Missing is null;
}
