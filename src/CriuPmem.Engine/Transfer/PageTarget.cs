using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>The object that pages belong to: in a message the number, and the kind in its lowest byte.</summary>
/// <param name="Kind"><see cref="ImageKind.Pagemap"/> or <see cref="ImageKind.PagemapShmem"/>.</param>
/// <param name="Id">The process, or the shared object.</param>
internal readonly record struct PageTarget(ImageKind Kind, uint Id)
{
    private const ulong Process = 1, Shared = 2;

    /// <summary>As a message has it.</summary>
    public ulong Encoded => (ulong)Id << 8 | (Kind == ImageKind.Pagemap ? Process : Shared);

    /// <summary>Memory of a process.</summary>
    public static PageTarget Of(int pid) => new(ImageKind.Pagemap, (uint)pid);

    /// <summary>A shared object.</summary>
    public static PageTarget OfShared(uint id) => new(ImageKind.PagemapShmem, id);

    /// <summary>Understands what a message has; false when nothing can have that number.</summary>
    public static bool TryDecode(ulong encoded, out PageTarget target)
    {
        ulong id = encoded >> 8, kind = encoded & 0xFF;
        target = new PageTarget(kind == Process ? ImageKind.Pagemap : ImageKind.PagemapShmem, (uint)id);
        return id is > 0 and <= uint.MaxValue && (kind == Shared || (kind == Process && id <= int.MaxValue));
    }
}
