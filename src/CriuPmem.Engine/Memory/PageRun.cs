namespace CriuPmem.Engine.Memory;

/// <summary>Consecutive pages of a process that are saved.</summary>
/// <param name="Start">The first address.</param>
/// <param name="End">The address after the last.</param>
/// <param name="Flags">Flags for the page map entry.</param>
/// <param name="Carefully">
/// To be read through /proc/PID/mem: pages without read permission, which nothing else reads, and pages shared with a
/// relative, which process_vm_readv(2) would unshare (it pins them).</param>
internal readonly record struct PageRun(ulong Start, ulong End, uint Flags, bool Carefully)
{
    /// <summary>Length in bytes.</summary>
    public ulong LengthBytes => End - Start;

    /// <summary>True when an earlier snapshot has the contents.</summary>
    public bool InParent => (Flags & (uint)Images.PageFlags.Parent) != 0;
}
