namespace CriuPmem.Engine.Memory;

/// <summary>Consecutive pages of a process that are saved.</summary>
/// <param name="Start">The first address.</param>
/// <param name="End">The address after the last.</param>
/// <param name="Flags">Flags for the page map entry.</param>
/// <param name="Unreadable">Pages without read permission: only /proc/PID/mem reads them.</param>
internal readonly record struct PageRun(ulong Start, ulong End, uint Flags, bool Unreadable)
{
    /// <summary>Length in bytes.</summary>
    public ulong LengthBytes => End - Start;
}
