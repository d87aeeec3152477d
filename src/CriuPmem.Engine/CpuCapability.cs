namespace CriuPmem.Engine;

/// <summary>Which CPU features are compared between dump and restore (--cpu-cap).</summary>
[Flags]
public enum CpuCapability
{
    /// <summary>None.</summary>
    None = 0,

    /// <summary>The floating point and vector state only.</summary>
    Fpu = 1,

    /// <summary>Every feature.</summary>
    Cpu = 2,

    /// <summary>What a program may have seen (the instruction set), as the peer's default "ins".</summary>
    Instructions = 4,

    /// <summary>The default: fpu and ins.</summary>
    Default = Fpu | Instructions,
}
