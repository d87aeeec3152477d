namespace CriuPmem.Engine.Memory;

/// <summary>The size of this kernel's vvar and vDSO mappings, seen in the engine itself.</summary>
internal static class VdsoLayout
{
    private const int SectionTableOffset = 40, SectionBytesOffset = 58, SectionCountOffset = 60; // Elf64_Ehdr

    /// <summary>From the first vvar page to the end of the vDSO, in bytes; 0 when there is no vDSO.</summary>
    public static ulong OwnBytes { get; } = Find();

    /// <summary>Where in the vDSO a <c>syscall</c> instruction lies, in bytes.</summary>
    public static ulong SyscallOffset { get; private set; }

    /// <summary>Where in the vDSO its contents end, 16-byte aligned, and how many bytes are left there.</summary>
    public static ulong TailOffset { get; private set; }

    /// <inheritdoc cref="TailOffset" />
    public static long TailBytes { get; private set; }

    private static unsafe ulong Find()
    {
        var buffer = new byte[64 * 1024];
        SysResult read = Sys.ReadFile(AT_FDCWD, "/proc/self/maps", ref buffer);
        var mappings = new List<MemoryMapping>();
        if (read.Failed || !SmapsParser.TryParse(buffer.AsSpan(0, read.Value), mappings)) return 0;
        MemoryMapping vdso = mappings.Find(mapping => mapping.Name == "[vdso]");
        if (vdso.End == 0) return 0;
        var image = new ReadOnlySpan<byte>((void*)vdso.Start, (int)vdso.LengthBytes);
        SyscallOffset = (ulong)Math.Max(0, image.IndexOf((ReadOnlySpan<byte>)[0x0F, 0x05]));
        // An ELF image ends, at the latest, with its section headers or its last byte that is not zero.
        ulong sections = BitConverter.ToUInt64(image[SectionTableOffset..]) +
            (ulong)BitConverter.ToUInt16(image[SectionBytesOffset..]) * BitConverter.ToUInt16(image[SectionCountOffset..]);
        ulong contents = Math.Max(sections, (ulong)image.LastIndexOfAnyExcept((byte)0) + 1);
        TailOffset = (contents + 15) & ~15UL;
        TailBytes = (long)vdso.LengthBytes - (long)TailOffset;
        ulong start = vdso.Start;
        for (int i = mappings.Count - 1; i >= 0; i--)
        {
            if (mappings[i].End == start && mappings[i].Name is "[vvar]" or "[vvar_vclock]") start = mappings[i].Start;
        }

        return vdso.End - start;
    }
}
