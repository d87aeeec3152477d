using System.Runtime.InteropServices;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Dump;

/// <summary>Finds what the engine uses of a process's vDSO (vdso(7)): a <c>syscall</c> instruction, and the unused end.</summary>
internal static unsafe class VdsoCode
{
    private const ulong AT_SYSINFO_EHDR = 33;
    private const int SectionTableOffset = 40, SectionBytesOffset = 58, SectionCountOffset = 60;

    // The same in every process of this kernel; 0 until found.
    private static ulong s_syscall, s_tail;

    /// <summary>The <c>syscall</c> instruction's address in a frozen process, and where its vDSO's contents end.</summary>
    /// <exception cref="CheckpointException">It has no vDSO.</exception>
    public static (RemoteAddress Syscall, RemoteAddress Tail) Find(DumpProcess process)
    {
        ulong start = FromAuxiliaryVector(process);
        if (start == 0 || !IsKnown(process.Pid, start))
        {
            MemoryMapping vdso = FromMappings(process);
            start = vdso.Start;
            if (!IsKnown(process.Pid, start)) Learn(process, vdso);
        }

        return (new RemoteAddress(start + s_syscall), new RemoteAddress(start + s_tail));
    }

    private static bool IsKnown(int pid, ulong start)
    {
        ushort code;
        return s_syscall != 0 && !Sys.ProcessVmRead(pid, start + s_syscall, &code, 2).Failed && code == 0x050F;
    }

    private static ulong FromAuxiliaryVector(DumpProcess process)
    {
        ReadOnlySpan<ulong> auxv = MemoryMarshal.Cast<byte, ulong>(process.Proc.Read("auxv"));
        for (int i = 0; i + 1 < auxv.Length; i += 2)
        {
            if (auxv[i] == AT_SYSINFO_EHDR) return auxv[i + 1];
        }

        return 0;
    }

    private static MemoryMapping FromMappings(DumpProcess process)
    {
        var mappings = new List<MemoryMapping>();
        SmapsParser.TryParse(process.Proc.Read("maps"), mappings);
        MemoryMapping vdso = mappings.Find(mapping => mapping.Name == "[vdso]");
        return vdso.End != 0
            ? vdso
            : throw process.Fail(
                ErrorCode.UnsupportedState, "it has no vDSO, through which remote calls are made",
                "Do not boot with vdso=0, and let the program keep it mapped");
    }

    private static void Learn(DumpProcess process, in MemoryMapping vdso)
    {
        var code = new byte[vdso.LengthBytes];
        fixed (byte* start = code)
        {
            Sys.ProcessVmRead(process.Pid, vdso.Start, start, vdso.LengthBytes).OrThrow("process_vm_readv", process.ToString());
        }

        int at = code.AsSpan().IndexOf((ReadOnlySpan<byte>)[0x0F, 0x05]);
        if (at <= 0) throw process.Fail(ErrorCode.UnsupportedState, "its vDSO contains no syscall instruction");
        s_syscall = (ulong)at;
        // An ELF image ends, at the latest, with its section headers or its last byte that is not zero.
        ulong sections = BitConverter.ToUInt64(code, SectionTableOffset) +
            (ulong)BitConverter.ToUInt16(code, SectionBytesOffset) * BitConverter.ToUInt16(code, SectionCountOffset);
        ulong contents = Math.Max(sections, (ulong)code.AsSpan().LastIndexOfAnyExcept((byte)0) + 1);
        ulong tail = (contents + 15) & ~15UL;
        s_tail = tail + (ulong)VdsoTail.LengthBytes <= vdso.LengthBytes
            ? tail
            : throw process.Fail(ErrorCode.UnsupportedState, "its vDSO has no room for the engine's first call in it");
    }
}
