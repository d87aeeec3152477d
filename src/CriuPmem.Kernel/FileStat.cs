using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>struct stat of x86-64 (stat(3type)).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct FileStat
{
    public ulong st_dev;
    public ulong st_ino;
    public ulong st_nlink;
    public uint st_mode;
    public uint st_uid;
    public uint st_gid;
    private readonly uint _pad;
    public ulong st_rdev;
    public long st_size;
    public long st_blksize;
    public long st_blocks;
    public long st_atim_sec;
    public long st_atim_nsec;
    public long st_mtim_sec;
    public long st_mtim_nsec;
    public long st_ctim_sec;
    public long st_ctim_nsec;
    private readonly long _unused0, _unused1, _unused2;

    /// <summary>The type bits of the mode (S_IF…).</summary>
    public readonly uint Type => st_mode & Constants.S_IFMT;

    /// <summary>A device number as the kernel itself has it, and the images with it: major &lt;&lt; 20 | minor.</summary>
    public static uint KernelDevice(ulong device) =>
        (uint)(((device >> 8) & 0xFFF) << 20 | (device & 0xFF) | ((device >> 12) & 0xFFF00));

    /// <summary>The major number of <see cref="st_rdev"/> (makedev(3)).</summary>
    public readonly uint DeviceMajor => (uint)((st_rdev >> 8) & 0xFFF | (st_rdev >> 32) & ~0xFFFUL);

    /// <summary>The minor number of <see cref="st_rdev"/>.</summary>
    public readonly uint DeviceMinor => (uint)(st_rdev & 0xFF | (st_rdev >> 12) & ~0xFFUL);
}
