using System.Runtime.Intrinsics.X86;

namespace CriuPmem.Engine.Estimate;

/// <summary>Copies the engine's memory into a file with the stores that a process copies itself with, to see how fast they are.</summary>
/// <param name="file">The file, on a tmpfs.</param>
internal sealed unsafe class OwnWindow(int file)
{
    /// <inheritdoc cref="Memory.TaskCopy.WindowCopy" />
    public bool TryCopy(long offset, ulong lengthBytes, IReadOnlyList<(ulong From, ulong To, ulong LengthBytes)> pieces)
    {
        SysResult mapped = Sys.Mmap(0, lengthBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, offset);
        if (mapped.Failed) return false;
        ulong window = (ulong)mapped.Raw;
        foreach ((ulong from, ulong to, ulong bytes) in pieces) Move((ulong*)(window + to), (ulong*)from, bytes / sizeof(ulong));
        Sse.StoreFence();
        Sys.Munmap(window, lengthBytes);
        return true;
    }

    private static void Move(ulong* to, ulong* from, ulong words)
    {
        for (ulong* end = from + words; from < end; from += 4, to += 4) // pages have whole lines
        {
            Sse2.X64.StoreNonTemporal(to, from[0]);
            Sse2.X64.StoreNonTemporal(to + 1, from[1]);
            Sse2.X64.StoreNonTemporal(to + 2, from[2]);
            Sse2.X64.StoreNonTemporal(to + 3, from[3]);
        }
    }
}
