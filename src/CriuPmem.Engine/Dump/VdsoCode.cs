using System.Runtime.InteropServices;
using CriuPmem.Engine.Memory;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Dump;

/// <summary>Finds what the engine uses of a process's vDSO (vdso(7)): a <c>syscall</c> instruction, and the unused end.</summary>
internal static unsafe class VdsoCode
{
    private const ulong AT_SYSINFO_EHDR = 33;

    /// <summary>The <c>syscall</c> instruction's address in a frozen process, and where its vDSO's contents end.</summary>
    /// <exception cref="CheckpointException">It has no vDSO, or not this kernel's.</exception>
    public static (RemoteAddress Syscall, RemoteAddress Tail) Find(DumpProcess process)
    {
        // The engine's own is the same in layout, and nobody has written to it.
        if (VdsoLayout.OwnBytes == 0 || VdsoLayout.TailBytes < VdsoTail.LengthBytes)
        {
            throw process.Fail(ErrorCode.UnsupportedState, "this kernel's vDSO has no room for the engine's calls", "Do not boot with vdso=0");
        }

        ulong start = FromAuxiliaryVector(process);
        if (start == 0 || !IsThisKernels(process.TaskId, start)) start = FromMappings(process);
        return (new RemoteAddress(start + VdsoLayout.SyscallOffset), new RemoteAddress(start + VdsoLayout.TailOffset));
    }

    private static bool IsThisKernels(int pid, ulong start)
    {
        ushort code;
        return !Sys.ProcessVmRead(pid, start + VdsoLayout.SyscallOffset, &code, 2).Failed && code == 0x050F;
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

    // A program may have moved it (mremap(2)).
    private static ulong FromMappings(DumpProcess process)
    {
        var mappings = new List<MemoryMapping>();
        SmapsParser.TryRead(process.Proc, "maps", mappings);
        MemoryMapping vdso = mappings.Find(mapping => mapping.Name == "[vdso]");
        return vdso.End != 0 && IsThisKernels(process.TaskId, vdso.Start)
            ? vdso.Start
            : throw process.Fail(
                ErrorCode.UnsupportedState, "it has no vDSO of this kernel, through which remote calls are made",
                "Let the program keep it mapped");
    }
}
