using System.Runtime.InteropServices;

namespace CriuPmem.Remote;

/// <summary>System calls that a tracee will execute in one go, with their data, and afterwards their results.</summary>
/// <remarks>
/// <code>
/// scratch:  0 control block   0x100 code   0x280 requests (64 bytes each) →   ← data   0x3ff00 the way back
/// </code>
/// The layout is mirrored here; only what is used is copied over and back. One batch object serves many runs.
/// </remarks>
internal sealed unsafe class SyscallBatch : IDisposable
{
    /// <summary>The size of a scratch mapping, in bytes.</summary>
    public const int ScratchBytes = 256 * 1024;

    internal const int CodeOffset = 0x100;
    internal const int RequestsOffset = 0x280; // few calls fit on the page of the code, which is copied anyway
    private const int RequestBytes = 64;
    private const int ControlBytes = 48;
    private const int FrameOffset = ScratchBytes - 0x100; // remote.S has it too
    private const long NotRun = long.MinValue;

    private readonly List<string?> _names = [];
    private readonly List<(int Index, long Bytes)> _expected = []; // of calls that could stop early
    private byte* _memory; // of the mirror; null while nothing is in it
    private int _dataStart = FrameOffset;

    /// <summary>Creates an empty batch for a scratch mapping at <paramref name="scratch"/>.</summary>
    public SyscallBatch(RemoteAddress scratch) => Scratch = scratch;

    /// <summary>Where the scratch mapping lies in the tracee.</summary>
    public RemoteAddress Scratch { get; }

    private byte* Mirror => _memory is null ? _memory = MirrorPool.Take() : _memory;

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
        _expected.Clear();
        GiveBack();
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

    /// <summary>Of a call that must succeed: it must also return exactly this.</summary>
    public void Expect(int index, long bytes) => _expected.Add((index, bytes));

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
        new Span<byte>(Mirror + _dataStart, rounded).Clear();
        return Scratch + (ulong)_dataStart;
    }

    /// <summary>The mirror of bytes of the data area: before a run to fill, after it to read.</summary>
    public Span<byte> Bytes(RemoteAddress address, int lengthBytes) =>
        new(Mirror + (int)(address.Value - Scratch.Value), lengthBytes);

    /// <summary>A structure in the data area.</summary>
    public ref T At<T>(RemoteAddress address) where T : unmanaged => ref *(T*)(Mirror + (int)(address.Value - Scratch.Value));

    /// <summary>The result of call <paramref name="index"/>.</summary>
    public SysResult Result(int index) => new(Request(index)[7]);

    /// <inheritdoc />
    public void Dispose() => GiveBack();

    /// <summary>Copies the batch into the tracee and points the task at it; it does not run yet.</summary>
    /// <param name="task">The task.</param>
    /// <param name="endSignal">The signal that ends it.</param>
    /// <param name="entry">Code in the data area that runs instead, and goes on to the end of the batch; default for none.</param>
    /// <param name="goesOn">The task is of the engine's making: at the end it is ready for the next batch, and heals no program.</param>
    /// <param name="letIn">Signals that are not held back, beside the end signal: a mask.</param>
    internal void Load(Tracee task, int endSignal, RemoteAddress entry = default, bool goesOn = false, ulong letIn = 0)
    {
        ulong* control = (ulong*)Mirror;
        Fill(control, task, 0, Count, endSignal, goesOn);
        control[2] &= ~letIn;
        HealingFrame((ulong*)(Mirror + FrameOffset), task.Registers);
        Copy(task.Tid, SyscallNumber.process_vm_writev, includeCode: true);
        if (goesOn && task.ReadyAt == Scratch) return; // code and mask are those of its last batch
        PointAt(task, entry == default ? Scratch + CodeOffset : entry, Scratch, control[2]);
    }

    /// <summary>Reserves the control block of a part, which one of several tasks runs.</summary>
    internal RemoteAddress NewPart() => Reserve(ControlBytes);

    /// <summary>Copies the batch into the tracees' memory, and points each of them at its part of it.</summary>
    internal void LoadParts(List<BatchPart> parts, int endSignal)
    {
        foreach (BatchPart part in parts)
        {
            Fill((ulong*)(Mirror + (int)(part.Control.Value - Scratch.Value)), part.Task, part.First, part.Count, endSignal, goesOn: true);
        }

        Copy(parts[0].Task.Tid, SyscallNumber.process_vm_writev, includeCode: true);
        foreach (BatchPart part in parts) PointAt(part.Task, Scratch + CodeOffset, part.Control, MaskOf(endSignal));
    }

    private static ulong MaskOf(int endSignal) => ~(1UL << (endSignal - 1) | 1UL << (SIGTRAP - 1));

    private void Fill(ulong* control, Tracee task, int first, int count, int endSignal, bool goesOn)
    {
        control[0] = (ulong)count;
        control[1] = Scratch.Value + RequestsOffset + (ulong)first * RequestBytes;
        control[2] = MaskOf(endSignal);
        control[3] = task.SignalMask;
        control[4] = (ulong)endSignal;
        control[5] = goesOn ? 1UL : 0;
    }

    private static void PointAt(Tracee task, RemoteAddress code, RemoteAddress control, ulong mask)
    {
        UserRegs registers = task.Registers;
        registers.rip = code.Value;
        registers.rbx = control.Value;
        registers.orig_rax = ulong.MaxValue;
        registers.eflags &= ~0x500UL; // direction flag and single step
        task.IsBorrowed = true;
        task.SetRegisters(registers);
        // A signal that came while the task stood still would be reported at its start, and be lost. The registers come
        // first: this code puts the mask back by itself, the program could not.
        if (!task.IsMasked) task.SetSignalMask(mask);
    }

    /// <summary>Copies requests (with their results) and data back from the tracee.</summary>
    internal void Unload(int tid) => Copy(tid, SyscallNumber.process_vm_readv, includeCode: false);

    /// <summary>Throws for the first call that had to succeed and did not.</summary>
    internal void Check(int tid)
    {
        Check(tid, 0, Count);
        CheckWhole(tid);
    }

    /// <summary>As <see cref="Check(int)"/>, of some of the calls.</summary>
    internal void Check(int tid, int first, int count)
    {
        for (int index = first; index < first + count; index++)
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

    private void CheckWhole(int tid)
    {
        foreach ((int index, long bytes) in _expected)
        {
            long moved = Result(index).Raw;
            if (moved == bytes) continue;
            throw new CheckpointException(ErrorCode.ImageDamaged, $"{_names[index]} ended after {moved} of {bytes} bytes: the file is shorter than when the restore began") { Pid = tid };
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

    private void GiveBack()
    {
        if (_memory is not null) MirrorPool.Return(_memory);
        _memory = null;
    }

    private long* Request(int index) => (long*)(Mirror + RequestsOffset + index * RequestBytes);

    private void Copy(int tid, int call, bool includeCode)
    {
        ulong* local = stackalloc ulong[6];
        ulong* remote = stackalloc ulong[6];
        int ranges = 0;
        ulong total = 0;
        void Range(int offset, int lengthBytes)
        {
            if (lengthBytes == 0) return;
            local[ranges * 2] = (ulong)Mirror + (ulong)offset;
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
