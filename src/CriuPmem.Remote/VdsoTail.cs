namespace CriuPmem.Remote;

/// <summary>The unused end of a process's vDSO, from which single system calls are made before there is a scratch mapping, and when there is none any more.</summary>
/// <remarks>
/// A debugger may write to a vDSO (it gets its own copy of that page). What is written is the code of remote.S, "call",
/// with the program's registers beside it: a task whose tracer dies goes back to the program by itself, at every instant.
/// In the end the bytes are zero again.
/// </remarks>
internal sealed unsafe class VdsoTail : IDisposable
{
    private readonly OwnedFd _memory;
    private readonly RemoteAddress _address;
    private bool _written;

    private VdsoTail(OwnedFd memory, RemoteAddress address)
    {
        _memory = memory;
        _address = address;
    }

    /// <summary>The bytes that are needed.</summary>
    public static int LengthBytes => RemoteCode.Call.Length;

    /// <summary>Opens it; null when those bytes are in use, by whatever it may be.</summary>
    /// <param name="process">/proc/PID.</param>
    /// <param name="address">Where in the process it is, 16-byte aligned.</param>
    public static VdsoTail? TryOpen(ProcDirectory process, RemoteAddress address)
    {
        SysResult opened = Sys.OpenAt(process.Fd, "mem", O_RDWR);
        if (opened.Failed) return null;
        var memory = new OwnedFd(opened.Value);
        Span<byte> now = stackalloc byte[LengthBytes];
        if (Sys.PRead(memory.Fd, now, (long)address.Value).Raw == LengthBytes && !now.ContainsAnyExcept((byte)0)) return new VdsoTail(memory, address);
        // An engine that died may have left its code; it is nobody's.
        if (now.StartsWith(RemoteCode.Call[..RemoteCode.CallDataOffset])) return new VdsoTail(memory, address);
        memory.Dispose();
        return null;
    }

    /// <summary>Makes a call; the task then stands stopped in its program.</summary>
    /// <param name="task">The task, stopped, its registers loaded.</param>
    /// <param name="endSignal">The signal that ends it.</param>
    /// <param name="number">The call's number.</param>
    /// <param name="arguments">Its arguments.</param>
    public SysResult Call(Tracee task, int endSignal, long number, params ReadOnlySpan<long> arguments)
    {
        Span<byte> code = stackalloc byte[LengthBytes];
        RemoteCode.Call.CopyTo(code);
        Span<ulong> data = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ulong>(code[RemoteCode.CallDataOffset..]);
        ref UserRegs own = ref task.Registers;
        (ulong rax, ulong rip) = own.AfterRestart();
        data[0] = ~(1UL << (endSignal - 1) | 1UL << (SIGTRAP - 1));
        data[1] = task.SignalMask;
        data[2] = (ulong)endSignal;
        data[3] = (ulong)number;
        for (int i = 0; i < arguments.Length; i++) data[4 + i] = (ulong)arguments[i];
        ReadOnlySpan<ulong> registers =
        [
            own.rdi, own.rsi, own.rdx, own.rcx, rax, own.r8, own.r9, own.r10, own.r11, own.rbp, own.r12, own.r13, own.r14,
            own.r15, own.rbx, rip,
        ];
        registers.CopyTo(data[10..]);
        if (Sys.PWrite(_memory.Fd, code, (long)_address.Value).Raw != LengthBytes)
        {
            throw new CheckpointException(ErrorCode.UnsupportedState, "its vDSO cannot be written to, from which remote calls are made") { Pid = task.Tid };
        }

        _written = true;
        UserRegs call = own;
        call.rip = _address.Value;
        call.orig_rax = ulong.MaxValue;
        task.IsBorrowed = true;
        task.SetRegisters(call);
        task.SetSignalMask(data[0]); // as for a batch: a signal that came meanwhile stays pending
        task.RunTo(endSignal);
        task.ReadRegisters(out UserRegs now).OrThrow("ptrace(GETREGSET)", $"task {task.Tid}");
        task.PutBack();
        return new SysResult((long)now.rbx);
    }

    /// <summary>Leaves no trace; no task may stand in it any more.</summary>
    public void Clear()
    {
        if (!_written) return;
        Span<byte> zeros = stackalloc byte[LengthBytes];
        zeros.Clear();
        Sys.PWrite(_memory.Fd, zeros, (long)_address.Value);
        _written = false;
    }

    /// <inheritdoc />
    public void Dispose() => _memory.Dispose();
}
