namespace CriuPmem.Engine.Memory;

/// <summary>A window of 2 MiB into a file, which it moves over: of a tmpfs, where it makes huge pages, or in persistent memory.</summary>
/// <remarks>
/// Allocating and zeroing 4 KiB pages one by one takes most of the time of a copy into a fresh file. One byte written and
/// MADV_COLLAPSE (madvise(2), Linux 6.1) make an extent one huge page instead, without any mount option: 8 GB/s with two
/// threads where write(2) reaches 2.5. Only the window is ever mapped, so the engine's own memory stays small.
/// In persistent memory the pages are those of the device; MADV_POPULATE_WRITE has them mapped at once, by huge entries where they
/// lie well, and tells of what cannot be mapped, where a touch would be a SIGBUS.
/// </remarks>
internal sealed unsafe class ExtentWindow : IDisposable
{
    /// <summary>The size of an extent, in bytes.</summary>
    public const int Bytes = 2 << 20;

    private readonly ulong _reserved;
    private readonly byte* _window;
    private readonly bool _isPersistent;

    private ExtentWindow(bool isPersistent)
    {
        _isPersistent = isPersistent;
        _reserved = (ulong)Sys.Mmap(0, 2 * Bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0).OrThrow("mmap", "copy window");
        _window = (byte*)((_reserved + Bytes - 1) & ~(ulong)(Bytes - 1));
    }

    /// <summary>Reserves addresses for one into a file of a tmpfs.</summary>
    public static ExtentWindow IntoTmpfs() => new(false);

    /// <summary>Reserves addresses for one into a DAX file that has its blocks already.</summary>
    public static ExtentWindow IntoPersistentMemory() => new(true);

    /// <summary>Moves to an extent and makes it ready: on a tmpfs one huge page.</summary>
    /// <param name="file">The file, open for reading and writing, of at least the extent's end in size.</param>
    /// <param name="offset">The extent's place, a multiple of its size.</param>
    /// <returns>Where it is mapped; null when the file system or the memory has no pages for it.</returns>
    public byte* TryMove(int file, long offset)
    {
        // Written, not touched: on a full file system a touch would be a SIGBUS.
        if (!_isPersistent && Sys.PWrite(file, [0], offset).Failed) return null;
        if (Sys.Mmap((ulong)_window, Bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, offset).Failed) return null;
        return Syscall.Invoke(SyscallNumber.madvise, (long)_window, Bytes, _isPersistent ? MADV_POPULATE_WRITE : MADV_COLLAPSE).Failed ? null : _window;
    }

    /// <inheritdoc />
    public void Dispose() => Sys.Munmap(_reserved, 2 * Bytes);
}
