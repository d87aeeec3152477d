namespace CriuPmem.Kernel;

/// <summary>The two-letter codes of "VmFlags:" in /proc/PID/smaps (Documentation/filesystems/proc.rst) that matter here.</summary>
[Flags]
internal enum VmFlags : uint
{
    None = 0,
    MayWrite = 1 << 0, // mw
    GrowsDown = 1 << 1, // gd
    PfnMap = 1 << 2, // pf
    Locked = 1 << 3, // lo
    Io = 1 << 4, // io
    SequentialRead = 1 << 5, // sr
    RandomRead = 1 << 6, // rr
    DontCopy = 1 << 7, // dc
    DontExpand = 1 << 8, // de
    Account = 1 << 9, // ac
    NoReserve = 1 << 10, // nr
    HugeTlb = 1 << 11, // ht
    WipeOnFork = 1 << 12, // wf
    DontDump = 1 << 13, // dd
    HugePage = 1 << 14, // hg
    NoHugePage = 1 << 15, // nh
    Mergeable = 1 << 16, // mg
    ShadowStack = 1 << 17, // ss
    UffdMissing = 1 << 18, // um
    UffdWriteProtect = 1 << 19, // uw
    LockOnFault = 1 << 20, // lf
    Synchronous = 1 << 21, // sf
    MixedMap = 1 << 22, // mm
    UffdMinor = 1 << 23, // ui
    Sealed = 1 << 24, // sl
    Droppable = 1 << 25, // dp
    Guard = 1 << 26, // gu
}
