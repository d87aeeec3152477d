namespace CriuPmem.Kernel;

/// <summary>Device numbers in the two forms in which the kernel shows them.</summary>
internal static class DeviceNumber
{
    /// <summary>From the kernel's own form (fdinfo, images: major &lt;&lt; 20 | minor) to that of stat(2) (makedev(3)).</summary>
    public static ulong FromKernel(uint device)
    {
        ulong major = device >> 20, minor = device & 0xFFFFF;
        return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFFUL) << 12 | (major & ~0xFFFUL) << 32;
    }
}
