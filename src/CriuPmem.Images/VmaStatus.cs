namespace CriuPmem.Images;

/// <summary>What a mapping is (<c>vma_entry.status</c>).</summary>
[Flags]
internal enum VmaStatus : uint
{
    /// <summary>Nothing known.</summary>
    None = 0,

    /// <summary>An ordinary mapping, to be made again by mmap; the others are special.</summary>
    Regular = 1 << 0,

    /// <summary>The stack.</summary>
    Stack = 1 << 1,

    /// <summary>The vsyscall page, above user space.</summary>
    Vsyscall = 1 << 2,

    /// <summary>The vDSO.</summary>
    Vdso = 1 << 3,

    /// <summary>The heap (brk).</summary>
    Heap = 1 << 5,

    /// <summary>A private mapping of a file.</summary>
    FilePrivate = 1 << 6,

    /// <summary>A shared mapping of a file.</summary>
    FileShared = 1 << 7,

    /// <summary>Shared memory without a name.</summary>
    AnonShared = 1 << 8,

    /// <summary>Private memory.</summary>
    AnonPrivate = 1 << 9,

    /// <summary>A SysV segment.</summary>
    SysvIpc = 1 << 10,

    /// <summary>A socket's ring.</summary>
    Socket = 1 << 11,

    /// <summary>The vDSO's data.</summary>
    Vvar = 1 << 12,

    /// <summary>A ring of asynchronous I/O.</summary>
    AioRing = 1 << 13,

    /// <summary>A memory file, or shared memory without a name (which is one in the kernel).</summary>
    Memfd = 1 << 14,

    /// <summary>A shadow stack.</summary>
    ShadowStack = 1 << 15,

    /// <summary>A guard region.</summary>
    Guard = 1 << 16,

    /// <summary>Trampolines of uprobes.</summary>
    Uprobes = 1 << 17,
}
