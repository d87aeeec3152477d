using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>Asks the kernel for the mappings of a process by a BPF iterator (Documentation/bpf/bpf_iterators.rst, task_vma).</summary>
/// <remarks>
/// smaps tells the same, and counts every page on the way: 20 ms for each GiB, and some microseconds of printing for each
/// mapping. The program that the kernel runs for each mapping is a few instructions that copy out what is wanted.
/// </remarks>
internal sealed unsafe class MappingIterator : IDisposable
{
    private const int BPF_PROG_LOAD = 5, BPF_LINK_CREATE = 28, BPF_ITER_CREATE = 33;
    private const uint BPF_PROG_TYPE_TRACING = 26, BPF_TRACE_ITER = 28;
    private const int BPF_FUNC_seq_write = 127;
    private const int LoadBytes = 120, LinkBytes = 32, IteratorBytes = 8;

    private readonly OwnedFd _program;
    private byte[] _buffer = new byte[32 * 1024]; // what the kernel collects before it hands it over

    private MappingIterator(OwnedFd program) => _program = program;

    /// <summary>Loads the program; null when this kernel, or the user's rights, do not allow it.</summary>
    public static MappingIterator? TryCreate()
    {
        using KernelTypes? types = KernelTypes.TryOpen();
        if (types?.Function("bpf_iter_task_vma") is not { } target || Program(types) is not { } instructions) return null;
        SysResult program = Load(instructions, target);
        return program.Failed ? null : new MappingIterator(new OwnedFd(program.Value));
    }

    /// <summary>Reads the mappings of a process, in address order.</summary>
    /// <param name="pid">The process.</param>
    /// <param name="mappings">Where they go.</param>
    /// <returns>False when that failed; what was read then is of no use.</returns>
    public bool TryRead(int pid, List<Entry> mappings)
    {
        SysResult link = Link(pid);
        if (link.Failed) return false;
        using var linked = new OwnedFd(link.Value);
        SysResult iterator = Iterate(link.Value);
        if (iterator.Failed) return false;
        using var file = new OwnedFd(iterator.Value);
        for (int used = 0; ;)
        {
            SysResult read = Sys.Read(file.Fd, _buffer.AsSpan(used));
            if (read.Errno == Errno.EAGAIN) continue; // the kernel's limit of work without output
            if (read.Failed) return false;
            if (read.Value == 0) return used == 0;
            used += read.Value;
            int whole = used / sizeof(Entry) * sizeof(Entry);
            ReadOnlySpan<Entry> told = MemoryMarshal.Cast<byte, Entry>(_buffer.AsSpan(0, whole));
            // 6.18 does not end after several reads, but tells the last ones again.
            if (told.Length > 0 && mappings.Count > 0 && told[0].Start < mappings[^1].End) return true;
            mappings.AddRange(told);
            _buffer.AsSpan(whole, used - whole).CopyTo(_buffer);
            used -= whole;
        }
    }

    /// <inheritdoc />
    public void Dispose() => _program.Dispose();

    // r6 = context, r7 = meta, r8 = mapping, r9 = its anon_vma; the entry is put together on the stack.
    private static ulong[]? Program(KernelTypes types)
    {
        if (types.Offset("bpf_iter__task_vma", "meta") is not { } meta || types.Offset("bpf_iter__task_vma", "vma") is not { } mapping) return null;
        if (types.Offset("bpf_iter_meta", "seq") is not { } output || types.Offset("vm_area_struct", "vm_start") is not { } start) return null;
        if (types.Offset("vm_area_struct", "vm_end") is not { } end || types.Offset("vm_area_struct", "vm_flags") is not { } flags) return null;
        if (types.Offset("vm_area_struct", "anon_vma") is not { } anonymous || types.Offset("anon_vma", "root") is not { } root) return null;
        if (types.Offset("anon_vma", "num_children") is not { } children) return null;
        return
        [
            Move(6, 1),
            Load(7, 6, meta), Load(8, 6, mapping),
            SkipIfZero(8, 17), // after the last mapping
            Load(1, 8, start), Store(1, -48),
            Load(1, 8, end), Store(1, -40),
            Load(1, 8, flags), Store(1, -32),
            Load(9, 8, anonymous), Store(9, -24),
            Load(1, 9, root), Store(1, -16), // reading through a null pointer gives 0 here
            Load(1, 9, children), Store(1, -8),
            Load(1, 7, output), Move(2, 10), Add(2, -48), Set(3, sizeof(Entry)),
            Call(BPF_FUNC_seq_write),
            Set(0, 0), Exit(),
        ];
    }

    private static ulong Instruction(int code, int to, int from, int offset, int value) =>
        (uint)code | (ulong)(uint)(to | from << 4) << 8 | (ulong)(ushort)offset << 16 | (ulong)(uint)value << 32;

    private static ulong Move(int to, int from) => Instruction(0xBF, to, from, 0, 0);

    private static ulong Set(int to, int value) => Instruction(0xB7, to, 0, 0, value);

    private static ulong Add(int to, int value) => Instruction(0x07, to, 0, 0, value);

    private static ulong Load(int to, int from, int offset) => Instruction(0x79, to, from, offset, 0);

    private static ulong Store(int from, int offset) => Instruction(0x7B, 10, from, offset, 0);

    private static ulong SkipIfZero(int register, int count) => Instruction(0x15, register, 0, count, 0);

    private static ulong Call(int helper) => Instruction(0x85, 0, 0, 0, helper);

    private static ulong Exit() => Instruction(0x95, 0, 0, 0, 0);

    private static SysResult Load(ulong[] instructions, uint target)
    {
        // seq_write is for programs under a license that the kernel knows as compatible with its own: the dozen
        // instructions above are offered under MIT or GPL 2 beside the project's own license.
        ReadOnlySpan<byte> license = "Dual MIT/GPL\0"u8;
        byte* attributes = stackalloc byte[LoadBytes];
        fixed (ulong* program = instructions)
        fixed (byte* text = license)
        {
            new Span<byte>(attributes, LoadBytes).Clear();
            *(uint*)attributes = BPF_PROG_TYPE_TRACING;
            *(uint*)(attributes + 4) = (uint)instructions.Length;
            *(ulong*)(attributes + 8) = (ulong)program;
            *(ulong*)(attributes + 16) = (ulong)text;
            "criu_pmem_vma"u8.CopyTo(new Span<byte>(attributes + 48, 16));
            *(uint*)(attributes + 68) = BPF_TRACE_ITER;
            *(uint*)(attributes + 108) = target;
            return Syscall.Invoke(SyscallNumber.bpf, BPF_PROG_LOAD, (long)attributes, LoadBytes);
        }
    }

    private SysResult Link(int pid)
    {
        uint* which = stackalloc uint[4] { (uint)pid, 0, 0, 0 }; // union bpf_iter_link_info: one task
        byte* attributes = stackalloc byte[LinkBytes];
        new Span<byte>(attributes, LinkBytes).Clear();
        *(uint*)attributes = (uint)_program.Fd;
        *(uint*)(attributes + 8) = BPF_TRACE_ITER;
        *(ulong*)(attributes + 16) = (ulong)which;
        *(uint*)(attributes + 24) = 16;
        return Syscall.Invoke(SyscallNumber.bpf, BPF_LINK_CREATE, (long)attributes, LinkBytes);
    }

    private static SysResult Iterate(int link)
    {
        uint* attributes = stackalloc uint[2] { (uint)link, 0 };
        return Syscall.Invoke(SyscallNumber.bpf, BPF_ITER_CREATE, (long)attributes, IteratorBytes);
    }

    /// <summary>What the program tells of one mapping.</summary>
#pragma warning disable CS0649 // filled in by the kernel
    internal struct Entry
    {
        /// <summary>First address, and the one after the last.</summary>
        public ulong Start, End;

        /// <summary>vm_flags: the kernel's own bits, which change with its version (<see cref="MappingFlagBits"/>).</summary>
        public ulong Flags;

        private ulong _anonymous, _root, _children;

        /// <summary>True when it has had anonymous pages, and a relative by fork may share some of them.</summary>
        public readonly bool MayShareCopies => _anonymous != 0 && (_anonymous != _root || _children > 1);
    }
#pragma warning restore CS0649
}
