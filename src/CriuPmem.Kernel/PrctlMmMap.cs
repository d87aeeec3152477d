using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>struct prctl_mm_map (PR_SET_MM_MAP(2const)): the bounds of an address space that /proc shows.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PrctlMmMap
{
    public ulong StartCode, EndCode, StartData, EndData, StartBrk, Brk, StartStack, ArgStart, ArgEnd, EnvStart, EnvEnd, Auxv;
    public uint AuxvBytes, ExeFd;
}
