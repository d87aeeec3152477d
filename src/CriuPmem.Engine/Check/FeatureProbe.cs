namespace CriuPmem.Engine.Check;

/// <summary>The probe of one kernel feature: it uses the feature, and sees whether that works.</summary>
/// <remarks>A probe leaves nothing behind. Only one probe runs at a time.</remarks>
internal abstract class FeatureProbe
{
    /// <summary>The feature's name: the peer's where it has one.</summary>
    public abstract string Name { get; }

    /// <summary>Another name of it, or null.</summary>
    public virtual string? OtherName => null;

    /// <summary>What it is for: a few words.</summary>
    public abstract string Purpose { get; }

    /// <summary>How much depends on it.</summary>
    public virtual FeatureCategory Category => FeatureCategory.Extra;

    /// <summary>Tries the feature; returns null when it works, else why not, in plain words.</summary>
    /// <exception cref="CheckpointException">It could not be tried, which counts as missing.</exception>
    protected abstract string? Probe(CheckOptions options);

    /// <summary>Tries the feature, whatever happens.</summary>
    public FeatureResult Run(CheckOptions options)
    {
        string? missing;
        try
        {
            missing = Probe(options);
        }
        catch (CheckpointException failed)
        {
            missing = failed.Message;
        }

        return new FeatureResult(Name, Purpose, Category, missing);
    }

    /// <summary>Null when a call worked, else its failure in words.</summary>
    protected static string? Missing(SysResult result, string call) =>
        result.Failed ? $"{call} failed: {result.Errno.Describe()}" : null;
}
