using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>The one door to the kernel: a few bytes of code that execute <c>syscall</c> and hand back rax.</summary>
/// <remarks>
/// The result arrives as the kernel gives it (a negated errno on failure), so nothing can overwrite errno between the
/// call and its reader. Calls that may block go through <see cref="Invoke(long,long,long,long,long,long,long)"/>, which lets the
/// garbage collector run meanwhile; short ones may use <see cref="Quick(long,long,long,long)"/>.
/// </remarks>
internal static unsafe partial class Syscall
{
    // rax = number; rdi, rsi, rdx, r10, r8, r9 = arguments (syscall(2), "Architecture calling conventions").
    private static ReadOnlySpan<byte> Code =>
    [
        0x48, 0x89, 0xF8,             // mov rax, rdi
        0x48, 0x89, 0xF7,             // mov rdi, rsi
        0x48, 0x89, 0xD6,             // mov rsi, rdx
        0x48, 0x89, 0xCA,             // mov rdx, rcx
        0x4D, 0x89, 0xC2,             // mov r10, r8
        0x4D, 0x89, 0xC8,             // mov r8, r9
        0x4C, 0x8B, 0x4C, 0x24, 0x08, // mov r9, [rsp + 8]
        0x0F, 0x05,                   // syscall
        0xC3,                         // ret
    ];

    private static readonly nint Entry = MakeExecutable();

    /// <summary>EMFILE or ENFILE when a call of the engine has failed with it; what goes wrong later may have no other cause.</summary>
    public static Errno Exhausted { get; private set; }

    /// <summary>Executes system call <paramref name="number"/> (syscalls(2)).</summary>
    public static SysResult Invoke(
        long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0)
    {
        long result = ((delegate* unmanaged<long, long, long, long, long, long, long, long>)Entry)(number, a, b, c, d, e, f);
        if (result is -(long)Errno.EMFILE or -(long)Errno.ENFILE) Exhausted = (Errno)(-result);
        return new SysResult(result);
    }

    /// <summary>As <see cref="Invoke"/>, for calls that never block: the garbage collector waits for them.</summary>
    public static SysResult Quick(long number, long a = 0, long b = 0, long c = 0) =>
        new(((delegate* unmanaged[SuppressGCTransition]<long, long, long, long, long, long, long, long>)Entry)(
            number, a, b, c, 0, 0, 0));

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial nint Mmap(nint address, nuint lengthBytes, int prot, int flags, int fd, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Mprotect(nint address, nuint lengthBytes, int prot);

    private static nint MakeExecutable()
    {
        nint page = Mmap(0, 4096, 3, 0x22, -1, 0);
        if (page == -1) throw new InvalidOperationException("no memory for the system call stub");
        Code.CopyTo(new Span<byte>((void*)page, 4096));
        if (Mprotect(page, 4096, 5) != 0) throw new InvalidOperationException("this kernel forbids executable memory");
        return page;
    }
}
