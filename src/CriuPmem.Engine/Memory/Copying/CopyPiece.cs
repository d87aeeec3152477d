namespace CriuPmem.Engine.Memory;

/// <summary>Consecutive pages that are copied together; never more than a worker's buffer, nor across one's borders.</summary>
/// <param name="Address">Where they are in the process (or in the file that is read).</param>
/// <param name="LengthBytes">How many bytes.</param>
/// <param name="FileOffset">Where they go in the pages file.</param>
/// <param name="Carefully">As in <see cref="PageRun"/>.</param>
internal readonly record struct CopyPiece(ulong Address, int LengthBytes, long FileOffset, bool Carefully);
