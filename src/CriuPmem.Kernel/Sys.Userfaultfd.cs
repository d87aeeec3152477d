namespace CriuPmem.Kernel;

/// <summary>ioctl_userfaultfd(2).</summary>
internal static unsafe partial class Sys
{
    public const int UFFD_USER_MODE_ONLY = 1;
    public const ulong UFFDIO_REGISTER_MODE_MISSING = 1, UFFDIO_REGISTER_MODE_WP = 2;
    public const ulong UFFD_FEATURE_WP_UNPOPULATED = 1 << 13, UFFD_FEATURE_WP_ASYNC = 1 << 15;
    private const uint UFFDIO_API = 0xC018AA3F, UFFDIO_REGISTER = 0xC020AA00;
    private const ulong UFFD_API = 0xAA;

    /// <summary>UFFDIO_API: the handshake, once for each descriptor.</summary>
    public static SysResult UserfaultfdApi(int fd, ulong features)
    {
        ulong* api = stackalloc ulong[3] { UFFD_API, features, 0 };
        return Syscall.Invoke(SyscallNumber.ioctl, fd, UFFDIO_API, (long)api);
    }

    /// <summary>UFFDIO_REGISTER of a range of whole mappings.</summary>
    public static SysResult UserfaultfdRegister(int fd, ulong start, ulong lengthBytes, ulong mode)
    {
        ulong* range = stackalloc ulong[4] { start, lengthBytes, mode, 0 };
        return Syscall.Invoke(SyscallNumber.ioctl, fd, UFFDIO_REGISTER, (long)range);
    }
}
