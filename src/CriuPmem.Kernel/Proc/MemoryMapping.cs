namespace CriuPmem.Kernel;

/// <summary>One mapping of an address space, as /proc/PID/smaps tells (proc_pid_smaps(5)).</summary>
internal struct MemoryMapping
{
    /// <summary>First address.</summary>
    public ulong Start;

    /// <summary>Address after the last.</summary>
    public ulong End;

    /// <summary>Offset into the file, in bytes.</summary>
    public ulong Offset;

    /// <summary>The file's device as maps prints it (major &lt;&lt; 20 | minor), and its inode.</summary>
    public uint DeviceMajor, DeviceMinor;

    /// <summary>The file's inode, 0 for anonymous memory.</summary>
    public ulong Inode;

    /// <summary>PROT_… bits.</summary>
    public int Protection;

    /// <summary>MAP_SHARED rather than MAP_PRIVATE.</summary>
    public bool Shared;

    /// <summary>Path or name in brackets, as printed; empty for plain anonymous memory.</summary>
    public string Name;

    /// <summary>Two-letter codes of VmFlags that the engine acts on.</summary>
    public VmFlags Flags;

    /// <summary>True when some of its anonymous pages may be shared with a relative (copy on write).</summary>
    public bool MayShareCopies;

    /// <summary>Length in bytes.</summary>
    public readonly ulong LengthBytes => End - Start;
}
