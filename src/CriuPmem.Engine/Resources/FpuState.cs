using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using CriuPmem.Images.Messages;
using Google.Protobuf.Collections;

namespace CriuPmem.Engine.Resources;

/// <summary>The extended register state (XSAVE area), to and from its message.</summary>
/// <remarks>
/// PTRACE_GETREGSET gives the standard form: 512 legacy bytes, a header of 64, then each component at the offset that
/// CPUID leaf 13 tells (Intel SDM vol. 1, ch. 13). The message has a field for each component.
/// </remarks>
internal static unsafe class FpuState
{
    private const int LegacyBytes = 512, HeaderBytes = 64, MaxBytes = 16384;
    private const int Ymm = 2, Bndregs = 3, Bndcsr = 4, Opmask = 5, ZmmUpper = 6, Hi16Zmm = 7, Pkru = 9;
    private const ulong InMessage = 0x3FF & ~(1UL << 8); // components 0 … 9 but PT
    private const int SoftwareBytesOffset = 464; // the kernel notes here which components the area has room for

    private static readonly (int Offset, int Size)[] s_components = FindComponents();
    private static (int LengthBytes, ulong Software)? s_layout;

    /// <summary>Reads a stopped thread's state.</summary>
    /// <exception cref="CheckpointException">It uses a component that the image cannot hold (AMX tiles).</exception>
    public static UserX86FpregsEntry Dump(int tid)
    {
        byte* area = stackalloc byte[MaxBytes];
        Sys.PtraceGetRegSet(tid, NT_X86_XSTATE, area, MaxBytes, out int lengthBytes).OrThrow("ptrace(GETREGSET, X86_XSTATE)", $"task {tid}");
        var bytes = new ReadOnlySpan<byte>(area, lengthBytes);
        ulong inUse = BinaryPrimitives.ReadUInt64LittleEndian(bytes[LegacyBytes..]);
        if ((inUse & ~InMessage) != 0)
        {
            throw new CheckpointException(ErrorCode.UnsupportedState, $"it uses CPU state that images cannot hold yet (XSAVE components 0x{inUse & ~InMessage:x}, AMX tiles perhaps)")
            {
                Pid = tid,
                Remedy = "Dump at a moment when the program does not use it",
            };
        }

        var entry = new UserX86FpregsEntry
        {
            Cwd = BinaryPrimitives.ReadUInt16LittleEndian(bytes),
            Swd = BinaryPrimitives.ReadUInt16LittleEndian(bytes[2..]),
            Twd = BinaryPrimitives.ReadUInt16LittleEndian(bytes[4..]),
            Fop = BinaryPrimitives.ReadUInt16LittleEndian(bytes[6..]),
            Rip = BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]),
            Rdp = BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]),
            Mxcsr = BinaryPrimitives.ReadUInt32LittleEndian(bytes[24..]),
            MxcsrMask = BinaryPrimitives.ReadUInt32LittleEndian(bytes[28..]),
            Xsave = new UserX86XsaveEntry { XstateBv = inUse, Cet = new UserX86CetEntry { Cet = 0, Ssp = 0 } },
        };
        Words(entry.StSpace, bytes.Slice(32, 128));
        Words(entry.XmmSpace, bytes.Slice(160, 256));
        UserX86XsaveEntry xsave = entry.Xsave;
        Words(xsave.YmmhSpace, Component(bytes, Ymm));
        Longs(xsave.BndregState, Component(bytes, Bndregs));
        Longs(xsave.BndcsrState, Component(bytes, Bndcsr));
        Longs(xsave.OpmaskReg, Component(bytes, Opmask));
        Longs(xsave.ZmmUpper, Component(bytes, ZmmUpper));
        Longs(xsave.Hi16Zmm, Component(bytes, Hi16Zmm));
        Words(xsave.Pkru, Component(bytes, Pkru));
        return entry;
    }

    /// <summary>Writes a stopped thread's state.</summary>
    /// <exception cref="CheckpointException">This CPU lacks a component that is in use.</exception>
    public static void Restore(int tid, UserX86FpregsEntry entry)
    {
        byte* area = stackalloc byte[MaxBytes];
        (int lengthBytes, ulong software) = s_layout ??= LayoutOf(tid);
        var bytes = new Span<byte>(area, lengthBytes);
        bytes.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[SoftwareBytesOffset..], software);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, (ushort)entry.Cwd);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[2..], (ushort)entry.Swd);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[4..], (ushort)entry.Twd);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[6..], (ushort)entry.Fop);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], entry.Rip);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[16..], entry.Rdp);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[24..], entry.Mxcsr);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[28..], entry.MxcsrMask);
        Fill(bytes.Slice(32, 128), entry.StSpace);
        Fill(bytes.Slice(160, 256), entry.XmmSpace);
        ulong inUse = entry.Xsave?.XstateBv ?? 3;
        if (entry.Xsave is { } xsave)
        {
            Put(bytes, inUse, Ymm, xsave.YmmhSpace);
            Put(bytes, inUse, Bndregs, xsave.BndregState);
            Put(bytes, inUse, Bndcsr, xsave.BndcsrState);
            Put(bytes, inUse, Opmask, xsave.OpmaskReg);
            Put(bytes, inUse, ZmmUpper, xsave.ZmmUpper);
            Put(bytes, inUse, Hi16Zmm, xsave.Hi16Zmm);
            Put(bytes, inUse, Pkru, xsave.Pkru);
        }

        BinaryPrimitives.WriteUInt64LittleEndian(bytes[LegacyBytes..], inUse);
        SysResult set = Sys.PtraceSetRegSet(tid, NT_X86_XSTATE, area, (ulong)lengthBytes);
        if (set.Failed)
        {
            throw new CheckpointException(ErrorCode.CpuMismatch, $"this CPU does not take the saved vector registers (components 0x{inUse:x})")
            {
                Pid = tid,
                Errno = set.Errno,
                Remedy = "Restore on a CPU with the features of the first one",
            };
        }
    }

    /// <summary>The length of the area, and what the kernel notes in it: the same for every new task.</summary>
    private static (int LengthBytes, ulong Software) LayoutOf(int tid)
    {
        byte* area = stackalloc byte[MaxBytes];
        Sys.PtraceGetRegSet(tid, NT_X86_XSTATE, area, MaxBytes, out int lengthBytes).OrThrow("ptrace(GETREGSET, X86_XSTATE)", $"task {tid}");
        return (lengthBytes, BinaryPrimitives.ReadUInt64LittleEndian(new ReadOnlySpan<byte>(area, lengthBytes)[SoftwareBytesOffset..]));
    }

    private static ReadOnlySpan<byte> Component(ReadOnlySpan<byte> area, int number)
    {
        (int offset, int size) = s_components[number];
        return size == 0 || offset + size > area.Length ? default : area.Slice(offset, size);
    }

    private static void Put<T>(Span<byte> area, ulong inUse, int number, RepeatedField<T> values) where T : unmanaged
    {
        if ((inUse >> number & 1) == 0) return;
        (int offset, int size) = s_components[number];
        if (size == 0 || offset + size > area.Length)
        {
            throw new CheckpointException(ErrorCode.CpuMismatch, $"this CPU lacks XSAVE component {number}, which the program uses")
            {
                Remedy = "Restore on a CPU with the features of the first one",
            };
        }

        Fill(area.Slice(offset, size), values);
    }

    private static void Fill<T>(Span<byte> target, RepeatedField<T> values) where T : unmanaged
    {
        Span<T> typed = MemoryMarshal.Cast<byte, T>(target);
        for (int i = 0; i < values.Count && i < typed.Length; i++) typed[i] = values[i];
    }

    private static void Words(RepeatedField<uint> values, ReadOnlySpan<byte> bytes)
    {
        foreach (uint word in MemoryMarshal.Cast<byte, uint>(bytes)) values.Add(word);
    }

    private static void Longs(RepeatedField<ulong> values, ReadOnlySpan<byte> bytes)
    {
        foreach (ulong word in MemoryMarshal.Cast<byte, ulong>(bytes)) values.Add(word);
    }

    private static (int Offset, int Size)[] FindComponents()
    {
        var components = new (int, int)[10];
        for (int number = 2; number < components.Length; number++)
        {
            (int size, int offset, _, _) = X86Base.CpuId(0xD, number);
            components[number] = (offset, size);
        }

        return components;
    }
}
