namespace CriuPmem.Images;

/// <summary>A stretch of saved pages: where they belong, and where their contents lie.</summary>
/// <param name="Start">First address (or offset in a shared object), a multiple of the page size.</param>
/// <param name="LengthBytes">Its length.</param>
/// <param name="Flags">How it was saved; always <see cref="PageFlags.Present"/>, perhaps <see cref="PageFlags.Lazy"/>.</param>
/// <param name="File">The pages file, as an index of <see cref="SavedPages.Files"/>.</param>
/// <param name="Offset">Its place in that file, in bytes.</param>
internal readonly record struct SavedRun(ulong Start, ulong LengthBytes, PageFlags Flags, int File, ulong Offset)
{
    /// <summary>Address after the last.</summary>
    public ulong End => Start + LengthBytes;
}
