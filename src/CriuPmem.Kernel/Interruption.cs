using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>Signals that ask an operation to end: noted when they come, and acted on where everything can be undone.</summary>
/// <remarks>
/// The handler is a few bytes of machine code that write the signal's number down, so that it may interrupt any thread at
/// any instruction. Programs that are executed get the default actions back by that alone (execve(2)). A write beyond
/// RLIMIT_FSIZE has a handler too, which does nothing: the write then fails with EFBIG.
/// </remarks>
public static unsafe class Interruption
{
    private const int SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGTERM = 15, SIGXFSZ = 25;
    private const ulong SIG_DFL = 0, SA_RESTORER = 0x0400_0000, SA_RESTART = 0x1000_0000;
    private const int IgnoreOffset = 6, RestoreOffset = 8;

    private static readonly (int Number, string Name)[] s_signals =
        [(SIGHUP, "SIGHUP"), (SIGINT, "SIGINT"), (SIGQUIT, "SIGQUIT"), (SIGTERM, "SIGTERM")];

    private static readonly List<int> s_handled = [];
    private static byte* s_pages;
    private static volatile bool s_held;

    // mov [rip + 0xffa], edi (the first word of the page behind); ret; nop; mov eax, 15 (rt_sigreturn); syscall
    private static ReadOnlySpan<byte> Code =>
        [0x89, 0x3D, 0xFA, 0x0F, 0x00, 0x00, 0xC3, 0x90, 0xB8, 0x0F, 0x00, 0x00, 0x00, 0x0F, 0x05];

    /// <summary>The signal that came, or 0.</summary>
    public static int Signal => s_pages is null ? 0 : Volatile.Read(ref *(int*)(s_pages + Constants.PageSize));

    /// <summary>True when the operation shall end, and still may.</summary>
    public static bool IsWanted => Signal != 0 && !s_held;

    /// <summary>From here on SIGHUP, SIGINT, SIGQUIT and SIGTERM are noted; those that the program was started to ignore stay ignored.</summary>
    public static void Begin()
    {
        s_held = false;
        if (s_pages is not null) return;
        const int readWrite = 3, readExecute = 5, privateAnonymous = 0x22;
        SysResult mapped = Syscall.Invoke(SyscallNumber.mmap, 0, 2 * (long)Constants.PageSize, readWrite, privateAnonymous, -1, 0);
        if (mapped.Failed) return; // they have their default effect
        Code.CopyTo(new Span<byte>((void*)mapped.Raw, Code.Length));
        if (Syscall.Invoke(SyscallNumber.mprotect, mapped.Raw, (long)Constants.PageSize, readExecute).Failed) return;
        s_pages = (byte*)mapped.Raw;
        SetHandler(SIGXFSZ, (ulong)s_pages + IgnoreOffset);
        foreach ((int number, _) in s_signals)
        {
            SigAction before = default;
            Syscall.Invoke(SyscallNumber.rt_sigaction, number, 0, (long)&before, 8);
            if (before.Handler != SIG_DFL) continue;
            SetHandler(number, (ulong)s_pages);
            s_handled.Add(number);
        }
    }

    /// <summary>Ends the operation if that was asked for.</summary>
    /// <exception cref="CheckpointException">It was.</exception>
    public static void Check()
    {
        if (IsWanted) throw Failure();
    }

    /// <summary>As <see cref="Check"/>, after somebody else's program ran: a signal that it sent may still be on its way to a thread of ours.</summary>
    /// <exception cref="CheckpointException">The operation shall end.</exception>
    public static void CheckArrived()
    {
        const int patienceMs = 100;
        ulong handled = 0;
        foreach (int number in s_handled) handled |= 1UL << (number - 1);
        using ProcDirectory? self = handled == 0 ? null : ProcDirectory.TryOpen(Sys.GetPid());
        bool isComing = self?.Status() is { } status && (status.PendingProcess & handled) != 0;
        for (int waited = 0; isComing && Signal == 0 && waited < patienceMs; waited++) Sys.SleepMicroseconds(1000);
        Check();
    }

    /// <summary>Waits a moment after somebody else's program ran: a signal that it sent is noted by a thread that may not have run since.</summary>
    /// <remarks>It is no longer pending as soon as that thread has taken it, some instructions before it is noted.</remarks>
    public static void Settle()
    {
        const int patienceMs = 3;
        for (int waited = 0; s_handled.Count > 0 && Signal == 0 && waited < patienceMs; waited++) Sys.SleepMicroseconds(1000);
    }

    /// <summary>What says that a signal ended the operation.</summary>
    public static CheckpointException Failure()
    {
        int signal = Signal;
        string name = Array.Find(s_signals, known => known.Number == signal).Name ?? $"signal {signal}";
        return new CheckpointException(ErrorCode.Interrupted, $"{name} ended it; everything is as it was before");
    }

    /// <summary>The last point is passed at which everything can be undone: what comes now waits.</summary>
    public static void Hold() => s_held = true;

    /// <summary>The signals have their default effect again; one that waited has it now.</summary>
    public static void End()
    {
        foreach (int number in s_handled) SetHandler(number, SIG_DFL);
        s_handled.Clear();
        if (Signal != 0) Sys.Kill(Sys.GetPid(), Signal);
    }

    private static void SetHandler(int number, ulong handler)
    {
        var action = new SigAction { Handler = handler, Flags = SA_RESTORER | SA_RESTART, Restorer = (ulong)s_pages + RestoreOffset };
        Syscall.Invoke(SyscallNumber.rt_sigaction, number, (long)&action, 0, 8);
    }

    /// <summary>struct sigaction as the kernel has it.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct SigAction
    {
        public ulong Handler;
        public ulong Flags;
        public ulong Restorer;
        public ulong Mask;
    }
}
