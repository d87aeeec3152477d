namespace CriuPmem.Engine.Memory;

/// <summary>The size of this kernel's vvar and vDSO mappings, seen in the engine itself.</summary>
internal static class VdsoLayout
{
    /// <summary>From the first vvar page to the end of the vDSO, in bytes; 0 when there is no vDSO.</summary>
    public static ulong OwnBytes { get; } = Find();

    /// <summary>Where in the vDSO a <c>syscall</c> instruction lies, in bytes.</summary>
    public static ulong SyscallOffset { get; private set; }

    private static unsafe ulong Find()
    {
        var buffer = new byte[64 * 1024];
        SysResult read = Sys.ReadFile(AT_FDCWD, "/proc/self/maps", ref buffer);
        var mappings = new List<MemoryMapping>();
        if (read.Failed || !SmapsParser.TryParse(buffer.AsSpan(0, read.Value), mappings)) return 0;
        MemoryMapping vdso = mappings.Find(mapping => mapping.Name == "[vdso]");
        if (vdso.End == 0) return 0;
        int at = new ReadOnlySpan<byte>((void*)vdso.Start, (int)vdso.LengthBytes).IndexOf((ReadOnlySpan<byte>)[0x0F, 0x05]);
        SyscallOffset = (ulong)Math.Max(0, at);
        ulong start = vdso.Start;
        for (int i = mappings.Count - 1; i >= 0; i--)
        {
            if (mappings[i].End == start && mappings[i].Name is "[vvar]" or "[vvar_vclock]") start = mappings[i].Start;
        }

        return vdso.End - start;
    }
}
