namespace CriuPmem.Kernel;

/// <summary>Calls that make, move and mark names of files.</summary>
internal static unsafe partial class Sys
{
    /// <summary>renameat2(2), both paths absolute.</summary>
    public static SysResult Rename(ReadOnlySpan<char> from, ReadOnlySpan<char> to, int flags)
    {
        fixed (byte* a = ZeroTerminated(from, default))
        fixed (byte* b = ZeroTerminated(to, default))
            return Syscall.Invoke(SyscallNumber.renameat2, AT_FDCWD, (long)a, AT_FDCWD, (long)b, flags);
    }

    /// <summary>mkdirat(2).</summary>
    public static SysResult MakeDirectory(int directory, ReadOnlySpan<char> path, uint mode)
    {
        fixed (byte* name = ZeroTerminated(path, default))
            return Syscall.Invoke(SyscallNumber.mkdirat, directory, (long)name, mode);
    }

    /// <summary>mknodat(2).</summary>
    public static SysResult MakeNode(int directory, ReadOnlySpan<char> path, uint mode, ulong device)
    {
        fixed (byte* name = ZeroTerminated(path, default))
            return Syscall.Invoke(SyscallNumber.mknodat, directory, (long)name, mode, (long)device);
    }

    /// <summary>symlinkat(2).</summary>
    public static SysResult MakeSymbolicLink(ReadOnlySpan<byte> target, int directory, ReadOnlySpan<char> path)
    {
        byte[] text = [.. target, 0];
        fixed (byte* start = text)
        fixed (byte* name = ZeroTerminated(path, default))
            return Syscall.Invoke(SyscallNumber.symlinkat, (long)start, directory, (long)name);
    }

    /// <summary>fchownat(2); a symbolic link itself, not what it leads to.</summary>
    public static SysResult ChangeOwner(int directory, ReadOnlySpan<char> path, uint uid, uint gid)
    {
        fixed (byte* name = ZeroTerminated(path, default))
            return Syscall.Invoke(SyscallNumber.fchownat, directory, (long)name, uid, gid, AT_SYMLINK_NOFOLLOW);
    }

    /// <summary>fchmodat(2).</summary>
    public static SysResult ChangeMode(int directory, ReadOnlySpan<char> path, uint mode)
    {
        fixed (byte* name = ZeroTerminated(path, default))
            return Syscall.Invoke(SyscallNumber.fchmodat, directory, (long)name, mode);
    }

    /// <summary>utimensat(2); a symbolic link itself. Times in seconds and nanoseconds.</summary>
    public static SysResult ChangeTimes(int directory, ReadOnlySpan<char> path, (long Sec, long Nsec) accessed, (long Sec, long Nsec) modified)
    {
        long* times = stackalloc long[4] { accessed.Sec, accessed.Nsec, modified.Sec, modified.Nsec };
        fixed (byte* name = ZeroTerminated(path, default))
            return Syscall.Invoke(SyscallNumber.utimensat, directory, (long)name, (long)times, AT_SYMLINK_NOFOLLOW);
    }
}
