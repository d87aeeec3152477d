namespace CriuPmem.Engine.Lazy;

/// <summary>Pages that are still to be filled, and where their contents lie.</summary>
/// <param name="Start">First address.</param>
/// <param name="End">Address after the last.</param>
/// <param name="File">Index of the pages file.</param>
/// <param name="Offset">Place in it, in bytes.</param>
internal readonly record struct PagerRun(ulong Start, ulong End, ulong File, ulong Offset)
{
    /// <summary>Its length.</summary>
    public ulong LengthBytes => End - Start;

    /// <summary>The part of it that lies between two addresses.</summary>
    public PagerRun Part(ulong start, ulong end)
    {
        ulong from = Math.Max(start, Start);
        return new PagerRun(from, Math.Min(end, End), File, Offset + (from - Start));
    }

    /// <summary>The same pages at another address.</summary>
    public PagerRun At(ulong start) => this with { Start = start, End = start + LengthBytes };
}
