namespace CriuPmem.Kernel;

/// <summary>What the bits of vm_flags mean on this kernel: learned from mappings for which smaps tells it in letters.</summary>
/// <remarks>
/// The bits are no interface, and some have moved. A bit stands for a code where each mapping of the sample has either both
/// or none. A word with a bit that no mapping of the sample has cannot be told: smaps must be asked then.
/// </remarks>
internal sealed class MappingFlagBits
{
    private readonly List<(ulong Bits, VmFlags Flag)> _meanings = [];

    /// <summary>Learns from a sample.</summary>
    public MappingFlagBits(ReadOnlySpan<(ulong Word, VmFlags Flags)> sample)
    {
        foreach ((ulong word, _) in sample) KnownBits |= word;
        foreach (VmFlags flag in Enum.GetValues<VmFlags>())
        {
            if (flag == VmFlags.None || !Has(sample, flag)) continue;
            ulong bits = Candidates(sample, flag);
            _meanings.Add((bits, flag));
            IsConsistent &= bits != 0;
        }
    }

    /// <summary>Whether each flag that the sample has is some bit.</summary>
    public bool IsConsistent { get; } = true;

    /// <summary>All bits that the sample has.</summary>
    public ulong KnownBits { get; }

    /// <summary>Tells what a word means; false when it has an unknown bit.</summary>
    public bool TryTell(ulong word, out VmFlags flags)
    {
        flags = VmFlags.None;
        if ((word & ~KnownBits) != 0) return false;
        foreach ((ulong bits, VmFlags flag) in _meanings)
        {
            if ((word & bits) != 0) flags |= flag;
        }

        return true;
    }

    private static bool Has(ReadOnlySpan<(ulong Word, VmFlags Flags)> sample, VmFlags flag)
    {
        foreach ((_, VmFlags flags) in sample)
        {
            if ((flags & flag) != 0) return true;
        }

        return false;
    }

    private static ulong Candidates(ReadOnlySpan<(ulong Word, VmFlags Flags)> sample, VmFlags flag)
    {
        ulong candidates = ulong.MaxValue;
        foreach ((ulong word, VmFlags flags) in sample) candidates &= (flags & flag) != 0 ? word : ~word;
        return candidates;
    }
}
