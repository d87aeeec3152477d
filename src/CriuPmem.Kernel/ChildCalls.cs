using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>A child process that executes a list of system calls and nothing else: no managed code runs in it.</summary>
/// <remarks>
/// A forked .NET process has lost all its threads but one, so it may not even allocate. The child therefore runs emitted
/// code only: it makes the calls one after another, stores their results, and exits with 127 behind the last one. An
/// execve that succeeds ends the list. Handled signals are put back to their default first (CLONE_CLEAR_SIGHAND,
/// Linux 5.5), so no handler of the runtime can run in the child.
/// </remarks>
internal static unsafe class ChildCalls
{
    /// <summary>Share memory with the child and wait until it has executed another program or ended (vfork(2)).</summary>
    public const ulong UntilExec = 0x4100; // CLONE_VM | CLONE_VFORK

    /// <summary>The child has a copy of memory (fork(2)).</summary>
    public const ulong Copy = 0;

    private const ulong CLONE_CLEAR_SIGHAND = 0x100000000;
    private const ulong SIGCHLD = 17;

    // long start(clone_args *rdi, size_t rsi, Call *rdx, long count rcx)
    private static ReadOnlySpan<byte> Code =>
    [
        0x53,                         //       push rbx
        0x41, 0x54,                   //       push r12
        0x48, 0x89, 0xD3,             //       mov rbx, rdx
        0x49, 0x89, 0xCC,             //       mov r12, rcx
        0xB8, 0xB3, 0x01, 0x00, 0x00, //       mov eax, 435 (clone3)
        0x0F, 0x05,                   //       syscall
        0x48, 0x85, 0xC0,             //       test rax, rax
        0x75, 0x38,                   //       jne parent
        0x48, 0x8B, 0x03,             // next: mov rax, [rbx]         (the child never touches the stack,
        0x48, 0x8B, 0x7B, 0x08,       //       mov rdi, [rbx + 8]      which it may share with its parent)
        0x48, 0x8B, 0x73, 0x10,       //       mov rsi, [rbx + 16]
        0x48, 0x8B, 0x53, 0x18,       //       mov rdx, [rbx + 24]
        0x4C, 0x8B, 0x53, 0x20,       //       mov r10, [rbx + 32]
        0x4C, 0x8B, 0x43, 0x28,       //       mov r8, [rbx + 40]
        0x4C, 0x8B, 0x4B, 0x30,       //       mov r9, [rbx + 48]
        0x0F, 0x05,                   //       syscall
        0x48, 0x89, 0x43, 0x38,       //       mov [rbx + 56], rax
        0x48, 0x83, 0xC3, 0x40,       //       add rbx, 64
        0x49, 0xFF, 0xCC,             //       dec r12
        0x75, 0xD6,                   //       jne next
        0xBF, 0x7F, 0x00, 0x00, 0x00, //       mov edi, 127
        0xB8, 0xE7, 0x00, 0x00, 0x00, //       mov eax, 231 (exit_group)
        0x0F, 0x05,                   //       syscall
        0x0F, 0x0B,                   //       ud2
        0x41, 0x5C,                   // parent: pop r12
        0x5B,                         //       pop rbx
        0xC3,                         //       ret
    ];

    private static readonly nint Entry = MakeExecutable();

    /// <summary>One system call of the child.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Call
    {
        /// <summary>Its number.</summary>
        public long Number;

        /// <summary>Its arguments.</summary>
        public fixed long Arguments[6];

        /// <summary>What it returned; seen by the parent with <see cref="UntilExec"/> only.</summary>
        public long Result;

        /// <summary>Makes a call.</summary>
        public Call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0)
        {
            Number = number;
            (Arguments[0], Arguments[1], Arguments[2]) = (a, b, c);
            (Arguments[3], Arguments[4], Arguments[5]) = (d, e, f);
        }
    }

    /// <summary>Starts a child (clone3(2)); returns its pid.</summary>
    /// <param name="calls">What it does; their results stand in them afterwards.</param>
    /// <param name="how"><see cref="UntilExec"/> or <see cref="Copy"/>, with further flags of clone3.</param>
    /// <param name="pid">The pid it shall have (set_tid), or 0 for any.</param>
    public static SysResult Start(Span<Call> calls, ulong how, int pid = 0)
    {
        int* setTid = &pid;
        ulong* arguments = stackalloc ulong[11];
        new Span<ulong>(arguments, 11).Clear();
        arguments[0] = how | CLONE_CLEAR_SIGHAND;
        arguments[4] = SIGCHLD;
        if (pid != 0)
        {
            arguments[8] = (ulong)setTid;
            arguments[9] = 1;
        }

        fixed (Call* first = calls)
        {
            return new(((delegate* unmanaged<ulong*, long, Call*, long, long>)Entry)(arguments, 88, first, calls.Length));
        }
    }

    private static nint MakeExecutable()
    {
        const int readWrite = 3, readExecute = 5, privateAnonymous = 0x22;
        nint page = (nint)Syscall.Invoke(SyscallNumber.mmap, 0, 4096, readWrite, privateAnonymous, -1).OrThrow("mmap", "child stub");
        Code.CopyTo(new Span<byte>((void*)page, 4096));
        Syscall.Invoke(SyscallNumber.mprotect, page, 4096, readExecute).OrThrow("mprotect", "child stub");
        return page;
    }
}
