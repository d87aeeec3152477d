namespace CriuPmem.Engine;

/// <summary>What a look at CPU features needs: the images directory, and which features are compared.</summary>
public sealed class CpuInfoOptions : CommonOptions;
