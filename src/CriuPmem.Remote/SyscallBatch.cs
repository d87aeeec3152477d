using System.Runtime.InteropServices;

namespace CriuPmem.Remote;

/// <summary>System calls that a tracee will execute in one go, with their data, and afterwards their results.</summary>
/// <remarks>
/// <code>
/// scratch:  0 control block   0x100 code   0x1000 requests (64 bytes each) →   ← data   0x3ff00 the way back
/// </code>
/// The layout is mirrored here; only what is used is copied over and back. One batch object serves many runs.
/// </remarks>
internal sealed unsafe class SyscallBatch : IDisposable
{
    /// <summary>The size of a scratch mapping, in bytes.</summary>
    public const int ScratchBytes = 256 * 1024;

    internal const int CodeOffset = 0x100;
    internal const int RequestsOffset = 0x1000;
    private const int RequestBytes = 64;
    private const int FrameOffset = ScratchBytes - 0x100; // remote.S has it too
    private const long NotRun = long.MinValue;

    private readonly byte* _mirror = (byte*)NativeMemory.AllocZeroed(ScratchBytes);
    private readonly List<string?> _names = [];
    private int _dataStart = FrameOffset;

    /// <summary>Creates an empty batch for a scratch mapping at <paramref name="scratch"/>.</summary>
    public SyscallBatch(RemoteAddress scratch)
    {
        Scratch = scratch;
        RemoteCode.Batch.CopyTo(new Span<byte>(_mirror + CodeOffset, RequestsOffset - CodeOffset));
    }

    /// <summary>Where the scratch mapping lies in the tracee.</summary>
    public RemoteAddress Scratch { get; }

    /// <summary>Calls added since <see cref="Clear"/>.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes left for requests and data.</summary>
    public int FreeBytes => _dataStart - RequestsOffset - Count * RequestBytes;

    /// <summary>Forgets calls and data.</summary>
    public void Clear()
    {
        Count = 0;
        _dataStart = FrameOffset;
        _names.Clear();
    }

    /// <summary>Adds a call whose failure is the caller's to judge; returns its index.</summary>
    public int Try(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) =>
        Put(number, 0, null, a, b, c, d, e, f);

    /// <summary>Adds a call whose failure skips the next one; returns its index.</summary>
    public int Gate(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) =>
        Put(number, 2, null, a, b, c, d, e, f);

    /// <summary>Adds a call that must succeed: a failure ends the batch, and running it throws; returns its index.</summary>
    /// <param name="name">The call and what it does, for the message.</param>
    /// <param name="number">The system call's number.</param>
    /// <param name="a">First argument.</param>
    /// <param name="b">Second argument.</param>
    /// <param name="c">Third argument.</param>
    /// <param name="d">Fourth argument.</param>
    /// <param name="e">Fifth argument.</param>
    /// <param name="f">Sixth argument.</param>
    public int Must(string name, long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) =>
        Put(number, 1, name, a, b, c, d, e, f);

    /// <summary>Adds a copy of whole pages within the tracee's memory, past the CPU's caches; returns its index. It may fault.</summary>
    public int Move(ulong to, ulong from, ulong lengthBytes) => Put(uint.MaxValue, 0, null, (long)to, (long)from, (long)lengthBytes, 0, 0, 0);

    /// <summary>Places bytes into the data area, 16-byte aligned; returns their address in the tracee.</summary>
    public RemoteAddress Data(ReadOnlySpan<byte> bytes)
    {
        RemoteAddress address = Reserve(bytes.Length);
        bytes.CopyTo(Bytes(address, bytes.Length));
        return address;
    }

    /// <summary>Places a structure into the data area.</summary>
    public RemoteAddress Data<T>(in T value) where T : unmanaged =>
        Data(MemoryMarshal.AsBytes(new ReadOnlySpan<T>(in value)));

    /// <summary>Reserves zeroed bytes of the data area, 16-byte aligned.</summary>
    public RemoteAddress Reserve(int lengthBytes)
    {
        int rounded = (lengthBytes + 15) & ~15;
        if (rounded > FreeBytes) throw new CheckpointException(ErrorCode.Internal, "a remote batch is full");
        _dataStart -= rounded;
        new Span<byte>(_mirror + _dataStart, rounded).Clear();
        return Scratch + (ulong)_dataStart;
    }

    /// <summary>The mirror of bytes of the data area: before a run to fill, after it to read.</summary>
    public Span<byte> Bytes(RemoteAddress address, int lengthBytes) =>
        new(_mirror + (int)(address.Value - Scratch.Value), lengthBytes);

    /// <summary>A structure in the data area.</summary>
    public ref T At<T>(RemoteAddress address) where T : unmanaged => ref *(T*)(_mirror + (int)(address.Value - Scratch.Value));

    /// <summary>The result of call <paramref name="index"/>.</summary>
    public SysResult Result(int index) => new(Request(index)[7]);

    /// <inheritdoc />
    public void Dispose() => NativeMemory.Free(_mirror);

    /// <summary>Copies the batch into the tracee and points the task at it; it does not run yet.</summary>
    /// <param name="task">The task.</param>
    /// <param name="endSignal">The signal that ends it.</param>
    /// <param name="entry">Code in the data area that runs instead, and goes on to the end of the batch; default for none.</param>
    /// <param name="letIn">Signals that are not held back, beside that one: a mask.</param>
    internal void Load(Tracee task, int endSignal, RemoteAddress entry = default, ulong letIn = 0)
    {
        ulong* control = (ulong*)_mirror;
        ref UserRegs own = ref task.Registers;
        control[0] = (ulong)Count;
        control[1] = Scratch.Value + RequestsOffset;
        control[2] = ~(1UL << (endSignal - 1) | 1UL << (SIGTRAP - 1) | letIn);
        control[3] = task.SignalMask;
        control[4] = (ulong)endSignal;
        HealingFrame((ulong*)(_mirror + FrameOffset), own);
        Copy(task.Tid, SyscallNumber.process_vm_writev, includeCode: true);
        UserRegs registers = own;
        registers.rip = entry == default ? Scratch.Value + CodeOffset : entry.Value;
        registers.rbx = Scratch.Value;
        registers.orig_rax = ulong.MaxValue;
        registers.eflags &= ~0x500UL; // direction flag and single step
        task.IsBorrowed = true;
        task.SetRegisters(registers);
        // A signal that came while the task stood still would be reported at its start, and be lost. The registers come
        // first: this code puts the mask back by itself, the program could not.
        task.SetSignalMask(control[2]);
    }

    /// <summary>Copies requests (with their results) and data back from the tracee.</summary>
    internal void Unload(int tid) => Copy(tid, SyscallNumber.process_vm_readv, includeCode: false);

    /// <summary>Throws for the first call that had to succeed and did not.</summary>
    internal void Check(int tid)
    {
        for (int index = 0; index < Count; index++)
        {
            long* request = Request(index);
            var result = new SysResult(request[7]);
            if ((request[0] >> 32 & 1) == 0 || !result.Failed) continue;
            throw new CheckpointException(ErrorCode.SystemCall, $"{_names[index]} failed inside the process")
            {
                Pid = tid,
                Errno = result.Errno,
                Object = $"system call {(int)request[0]}(0x{request[1]:x}, 0x{request[2]:x}, 0x{request[3]:x}, 0x{request[4]:x}, 0x{request[5]:x}, 0x{request[6]:x})",
            };
        }
    }

    /// <summary>How the program goes on by itself if the tracer dies (remote.S, heal): general registers, then an iretq frame.</summary>
    private static void HealingFrame(ulong* frame, in UserRegs own)
    {
        (ulong rax, ulong rip) = own.AfterRestart();
        ReadOnlySpan<ulong> values =
        [
            own.rdi, own.rsi, own.rdx, own.rcx, rax, own.r8, own.r9, own.r10, own.r11, own.rbp, own.r12, own.r13, own.r14,
            own.r15, own.rbx, rip, own.cs, own.eflags, own.rsp, own.ss,
        ];
        values.CopyTo(new Span<ulong>(frame, values.Length));
    }

    private int Put(long number, long flags, string? name, long a, long b, long c, long d, long e, long f)
    {
        if (FreeBytes < RequestBytes) throw new CheckpointException(ErrorCode.Internal, "a remote batch is full");
        long* request = Request(Count);
        request[0] = number | flags << 32;
        request[1] = a;
        request[2] = b;
        request[3] = c;
        request[4] = d;
        request[5] = e;
        request[6] = f;
        request[7] = NotRun;
        _names.Add(name);
        return Count++;
    }

    private long* Request(int index) => (long*)(_mirror + RequestsOffset + index * RequestBytes);

    private void Copy(int tid, int call, bool includeCode)
    {
        ulong* local = stackalloc ulong[6];
        ulong* remote = stackalloc ulong[6];
        int ranges = 0;
        ulong total = 0;
        void Range(int offset, int lengthBytes)
        {
            if (lengthBytes == 0) return;
            local[ranges * 2] = (ulong)_mirror + (ulong)offset;
            remote[ranges * 2] = Scratch.Value + (ulong)offset;
            local[ranges * 2 + 1] = remote[ranges * 2 + 1] = (ulong)lengthBytes;
            total += (ulong)lengthBytes;
            ranges++;
        }

        if (includeCode) Range(0, CodeOffset + RemoteCode.Batch.Length);
        Range(RequestsOffset, Count * RequestBytes);
        Range(_dataStart, (includeCode ? ScratchBytes : FrameOffset) - _dataStart);
        if (ranges == 0) return;
        SysResult copied = Syscall.Invoke(call, tid, (long)local, ranges, (long)remote, ranges);
        if (copied.Raw != (long)total) copied.OrThrow("copying a remote batch", $"task {tid}");
    }
}
