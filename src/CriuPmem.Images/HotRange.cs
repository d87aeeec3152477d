using System.Runtime.InteropServices;

namespace CriuPmem.Images;

/// <summary>Neighbouring pages that a program touched soon after a restore; an entry of hot-pages.img.</summary>
/// <param name="Pid">The process, by its saved number.</param>
/// <param name="Pages">How many pages.</param>
/// <param name="Start">Where, at that time.</param>
[StructLayout(LayoutKind.Sequential)]
internal readonly record struct HotRange(uint Pid, uint Pages, ulong Start)
{
    /// <summary>Address after the last.</summary>
    public ulong End => Start + Pages * Pagemap.PageBytes;
}
