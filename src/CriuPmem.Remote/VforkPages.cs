using System.Runtime.InteropServices;

namespace CriuPmem.Remote;

/// <summary>
/// Two pages in the memory that a vfork parent shares with its child: code by which the parent waits for the child as in
/// vfork(2), and by which the child moves from one thread to another. They belong to the program from then on.
/// </summary>
/// <remarks>
/// The first page is code (remote.S, "vfork"), the second its data, whose layout is there too. Whoever runs that code needs
/// no tracer to go on.
/// </remarks>
internal sealed unsafe class VforkPages(RemoteAddress start)
{
    private const int Signal = 0x10, ParentMask = 0x18, ChildMask = 0x20, ParentRegisters = 0x80, ChildRegisters = 0x100, Clone = 0x180;

    /// <summary>The size of the mapping, in bytes.</summary>
    public const long LengthBytes = 2 * (long)PageSize;

    /// <summary>Where they lie.</summary>
    public RemoteAddress Start => start;

    /// <summary>The word that the kernel clears when the child leaves the memory (set_tid_address(2)).</summary>
    public RemoteAddress Word => start + PageSize;

    /// <summary>Where the parent waits.</summary>
    public RemoteAddress Wait => start;

    /// <summary>Where the child makes its second thread; ends in the signal given, with the result of clone3(2) in rbx.</summary>
    public RemoteAddress Bear => start + RemoteCode.VforkBearOffset;

    /// <summary>
    /// Where both threads of the child go: the first to come ends, the second goes on in the program. So there is one of
    /// them afterwards, whoever dies when.
    /// </summary>
    public RemoteAddress Handover => start + RemoteCode.VforkHandoverOffset;

    /// <summary>The system calls that the parent will make there by itself: all that its seccomp filters have to allow.</summary>
    /// <param name="child">The number that the word holds.</param>
    public SeccompData[] CallsOfParent(int child) =>
    [
        new(SyscallNumber.futex, start.Value + RemoteCode.VforkFutexOffset, Word.Value, 0, (ulong)child),
        new(SyscallNumber.rt_sigprocmask, start.Value + RemoteCode.VforkMaskOffset, 2, Word.Value + ParentMask, 0, 8),
    ];

    /// <summary>Fills the pages, which are writable still.</summary>
    /// <param name="child">The child's only thread, stopped.</param>
    /// <param name="endSignal">The signal in which <see cref="Bear"/> ends.</param>
    public void Fill(Tracee child, int endSignal)
    {
        Write(child, start, RemoteCode.Vfork);
        Write(child, Word + Signal, (ulong)endSignal);
        const ulong flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PTRACE;
        Write(child, Word + Clone, new CloneArgs { flags = flags });
        SetChild(child);
    }

    /// <summary>How the child goes on in the program, by itself if need be.</summary>
    public void SetChild(Tracee child)
    {
        Write(child, Word + ChildMask, child.SignalMask);
        SetRegisters(child, ChildRegisters);
    }

    /// <summary>The signal mask that the parent gets back, by a task that shares its memory.</summary>
    public void SetParentMask(Tracee child, ulong mask) => Write(child, Word + ParentMask, mask);

    /// <summary>Makes <see cref="Word"/> say that the child is there.</summary>
    public void SetWord(Tracee child, int value) => Write(child, Word, (ulong)value);

    /// <summary>
    /// Has the parent, stopped on its way out of vfork, wait for <see cref="Word"/>, all signals blocked. In few calls: it
    /// must not come to the program if the engine dies.
    /// </summary>
    /// <returns>False when it is gone.</returns>
    public bool Redirect(Tracee parent)
    {
        if (parent.ReadRegisters(out parent.Registers).Failed) return false;
        SetRegisters(parent, ParentRegisters);
        parent.Registers.rip = Wait.Value;
        parent.Registers.orig_rax = ulong.MaxValue;
        parent.SetRegisters(parent.Registers); // before the mask, which the code puts back, and the program could not
        return !parent.SetSignalMask(ulong.MaxValue).Failed && parent.LoadIfAlive();
    }

    /// <summary>True when <paramref name="address"/> is the word of such pages in a task's memory.</summary>
    public static bool IsWord(Tracee task, ulong address)
    {
        Span<byte> code = stackalloc byte[RemoteCode.Vfork.Length];
        fixed (byte* local = code)
        {
            return !Sys.ProcessVmRead(task.Tid, address - PageSize, local, (ulong)code.Length).Failed && code.SequenceEqual(RemoteCode.Vfork);
        }
    }

    private void SetRegisters(Tracee task, int registers)
    {
        ref UserRegs own = ref task.Registers;
        (ulong rax, ulong rip) = own.AfterRestart();
        ReadOnlySpan<ulong> values =
        [
            own.rdi, own.rsi, own.rdx, own.rcx, rax, own.r8, own.r9, own.r10, own.r11, own.rbp, own.r12, own.r13, own.r14,
            own.r15, own.rbx, rip,
        ];
        Write(task, Word + (ulong)registers, MemoryMarshal.AsBytes(values));
    }

    private static void Write<T>(Tracee task, RemoteAddress address, in T value) where T : unmanaged =>
        Write(task, address, MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)));

    private static void Write(Tracee task, RemoteAddress address, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* local = bytes)
            Sys.ProcessVmWrite(task.Tid, address.Value, local, (ulong)bytes.Length).OrThrow("process_vm_writev", $"task {task.Tid}");
    }
}
