using CriuPmem.Remote;

namespace CriuPmem.Engine.Dump;

/// <summary>Finds the <c>syscall</c> instruction that every vDSO contains (vdso(7)), so that no program text is changed.</summary>
internal static unsafe class VdsoCode
{
    private static ulong s_offset; // the same in every process of this kernel; 0 until found

    /// <summary>The instruction's address in a frozen process.</summary>
    public static RemoteAddress SyscallInstruction(DumpProcess process)
    {
        var mappings = new List<MemoryMapping>();
        SmapsParser.TryParse(process.Proc.Read("maps"), mappings);
        MemoryMapping vdso = mappings.Find(mapping => mapping.Name == "[vdso]");
        if (vdso.End == 0)
        {
            throw process.Fail(ErrorCode.UnsupportedState, "it has no vDSO, through which remote calls are made", "Do not boot with vdso=0, and let the program keep it mapped");
        }

        if (s_offset == 0 || !IsSyscall(process.Pid, vdso.Start + s_offset)) s_offset = Find(process, vdso);
        return new RemoteAddress(vdso.Start + s_offset);
    }

    private static bool IsSyscall(int pid, ulong address)
    {
        ushort code;
        return !Sys.ProcessVmRead(pid, address, &code, 2).Failed && code == 0x050F;
    }

    private static ulong Find(DumpProcess process, in MemoryMapping vdso)
    {
        var code = new byte[vdso.LengthBytes];
        fixed (byte* start = code) Sys.ProcessVmRead(process.Pid, vdso.Start, start, vdso.LengthBytes).OrThrow("process_vm_readv", process.ToString());
        int at = code.AsSpan().IndexOf((ReadOnlySpan<byte>)[0x0F, 0x05]);
        return at > 0 ? (ulong)at : throw process.Fail(ErrorCode.UnsupportedState, "its vDSO contains no syscall instruction");
    }
}
