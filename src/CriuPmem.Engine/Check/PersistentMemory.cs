namespace CriuPmem.Engine.Check;

/// <summary>Tells what kind of memory a directory's files lie on.</summary>
public static unsafe class PersistentMemory
{
    private const int AT_EMPTY_PATH = 0x1000;
    private const ulong STATX_ATTR_DAX = 0x00200000;
    private const int O_RDWR = 2;
    private const int O_PATH = 0x200000;
    private const int O_TMPFILE = 0x410000;
    private const int O_CLOEXEC = 0x80000;

    /// <summary>Looks at an open directory (statfs(2), statx(2)).</summary>
    /// <param name="directoryFd">The directory.</param>
    public static PersistentMemoryKind Of(int directoryFd)
    {
        long* statfs = stackalloc long[16];
        if (Syscall.Invoke(SyscallNumber.fstatfs, directoryFd, (long)statfs).Failed) return PersistentMemoryKind.None;
        if (statfs[0] == TMPFS_MAGIC) return PersistentMemoryKind.Tmpfs;

        // The attribute is one of files, not of directories: a nameless file tells, or, where none can be made, an image.
        SysResult file;
        fixed (byte* name = "."u8) file = Syscall.Invoke(SyscallNumber.openat, directoryFd, (long)name, O_TMPFILE | O_RDWR | O_CLOEXEC, 0x180);
        if (file.Failed)
        {
            fixed (byte* name = "inventory.img"u8) file = Syscall.Invoke(SyscallNumber.openat, directoryFd, (long)name, O_PATH | O_CLOEXEC);
        }

        if (file.Failed) return PersistentMemoryKind.None;
        bool isDax = IsDax(file.Value);
        Syscall.Invoke(SyscallNumber.close, file.Value);
        return isDax ? PersistentMemoryKind.Dax : PersistentMemoryKind.None;
    }

    /// <summary>A file's pages are mapped straight from persistent memory.</summary>
    public static bool IsDax(int file)
    {
        ulong* statx = stackalloc ulong[32]; // struct statx: stx_attributes is its second word
        statx[1] = 0;
        fixed (byte* empty = "\0"u8) Syscall.Invoke(SyscallNumber.statx, file, (long)empty, AT_EMPTY_PATH, 0, (long)statx);
        return (statx[1] & STATX_ATTR_DAX) != 0;
    }
}
