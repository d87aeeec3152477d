namespace CriuPmem.Kernel;

/// <summary>ioctl_userfaultfd(2).</summary>
internal static unsafe partial class Sys
{
    public const int UFFD_USER_MODE_ONLY = 1;
    public const ulong UFFDIO_REGISTER_MODE_MISSING = 1, UFFDIO_REGISTER_MODE_WP = 2;
    public const ulong UFFD_FEATURE_WP_UNPOPULATED = 1 << 13, UFFD_FEATURE_WP_ASYNC = 1 << 15;
    public const ulong UFFD_FEATURE_EVENT_FORK = 1 << 1, UFFD_FEATURE_EVENT_REMAP = 1 << 2, UFFD_FEATURE_EVENT_REMOVE = 1 << 3, UFFD_FEATURE_EVENT_UNMAP = 1 << 6;
    public const byte UFFD_EVENT_PAGEFAULT = 0x12, UFFD_EVENT_FORK = 0x13, UFFD_EVENT_REMAP = 0x14, UFFD_EVENT_REMOVE = 0x15, UFFD_EVENT_UNMAP = 0x16;
    private const uint UFFDIO_API = 0xC018AA3F, UFFDIO_REGISTER = 0xC020AA00, UFFDIO_UNREGISTER = 0x8010AA01, UFFDIO_WAKE = 0x8010AA02, UFFDIO_COPY = 0xC028AA03, UFFDIO_ZEROPAGE = 0xC020AA04;
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

    /// <summary>UFFDIO_UNREGISTER of a range, which may be a part of a mapping.</summary>
    public static SysResult UserfaultfdUnregister(int fd, ulong start, ulong lengthBytes)
    {
        ulong* range = stackalloc ulong[2] { start, lengthBytes };
        return Syscall.Invoke(SyscallNumber.ioctl, fd, UFFDIO_UNREGISTER, (long)range);
    }

    /// <summary>UFFDIO_COPY: fills missing pages from the caller's memory, and wakes who waits for them.</summary>
    /// <param name="fd">The userfaultfd.</param>
    /// <param name="to">Address in the process.</param>
    /// <param name="from">Address in the caller.</param>
    /// <param name="lengthBytes">Whole pages.</param>
    /// <param name="copied">Bytes that were filled, whatever came then.</param>
    public static SysResult UserfaultfdCopy(int fd, ulong to, ulong from, ulong lengthBytes, out ulong copied)
    {
        ulong* copy = stackalloc ulong[5] { to, from, lengthBytes, 0, 0 };
        SysResult result = Syscall.Invoke(SyscallNumber.ioctl, fd, UFFDIO_COPY, (long)copy);
        copied = (long)copy[4] > 0 ? copy[4] : 0;
        return result;
    }

    /// <summary>UFFDIO_ZEROPAGE: fills missing pages with zeros.</summary>
    public static SysResult UserfaultfdZero(int fd, ulong start, ulong lengthBytes)
    {
        ulong* zero = stackalloc ulong[4] { start, lengthBytes, 0, 0 };
        return Syscall.Invoke(SyscallNumber.ioctl, fd, UFFDIO_ZEROPAGE, (long)zero);
    }

    /// <summary>UFFDIO_WAKE: lets those who wait for pages of a range look again.</summary>
    public static SysResult UserfaultfdWake(int fd, ulong start, ulong lengthBytes)
    {
        ulong* range = stackalloc ulong[2] { start, lengthBytes };
        return Syscall.Invoke(SyscallNumber.ioctl, fd, UFFDIO_WAKE, (long)range);
    }

    /// <summary>struct uffd_msg: a fault, or an event of an address space (ioctl_userfaultfd(2), userfaultfd(2)).</summary>
    [System.Runtime.InteropServices.StructLayout(System.Runtime.InteropServices.LayoutKind.Explicit, Size = 32)]
    public struct UserfaultfdMessage
    {
        /// <summary>UFFD_EVENT_….</summary>
        [System.Runtime.InteropServices.FieldOffset(0)]
        public byte Event;

        /// <summary>UFFD_EVENT_FORK: the child's userfaultfd.</summary>
        [System.Runtime.InteropServices.FieldOffset(8)]
        public uint ChildFd;

        /// <summary>First address of a removed or unmapped range, or the old one of a moved range.</summary>
        [System.Runtime.InteropServices.FieldOffset(8)]
        public ulong Start;

        /// <summary>UFFD_EVENT_PAGEFAULT: the address. Of a range: its end, or its new address.</summary>
        [System.Runtime.InteropServices.FieldOffset(16)]
        public ulong Address;

        /// <summary>UFFD_EVENT_REMAP: its length.</summary>
        [System.Runtime.InteropServices.FieldOffset(24)]
        public ulong LengthBytes;
    }

    /// <summary>Reads one message; it must be acted upon before the next is read, since the kernel tells of faults first.</summary>
    public static SysResult UserfaultfdRead(int fd, out UserfaultfdMessage message)
    {
        UserfaultfdMessage read = default;
        SysResult result = Syscall.Invoke(SyscallNumber.read, fd, (long)(&read), sizeof(UserfaultfdMessage));
        message = read;
        return result;
    }
}
