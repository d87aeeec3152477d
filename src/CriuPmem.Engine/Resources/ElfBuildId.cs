using System.Buffers.Binary;

namespace CriuPmem.Engine.Resources;

/// <summary>Finds the build-id note of an ELF file (elf(5), "Notes").</summary>
internal static class ElfBuildId
{
    private const int NoteType = 3; // NT_GNU_BUILD_ID
    private const int ProgramHeaderNote = 4; // PT_NOTE

    /// <summary>The id's bytes (20 with most linkers); empty when the file is no 64-bit ELF file, has none, or cannot be read.</summary>
    public static byte[] Read(int fd) => TryRead(fd) ?? [];

    /// <summary>As <see cref="Read"/>; null when the file cannot be read through this descriptor.</summary>
    public static byte[]? TryRead(int fd)
    {
        Span<byte> head = stackalloc byte[4096];
        SysResult read = Sys.PRead(fd, head, 0);
        if (read.Failed) return null;
        ReadOnlySpan<byte> elf = head[..read.Value];
        if (elf.Length < 64 || !elf.StartsWith("\u007fELF\u0002\u0001"u8)) return [];
        ulong table = BinaryPrimitives.ReadUInt64LittleEndian(elf[32..]);
        int size = BinaryPrimitives.ReadUInt16LittleEndian(elf[54..]), count = BinaryPrimitives.ReadUInt16LittleEndian(elf[56..]);
        for (int i = 0; i < count; i++)
        {
            ulong at = table + (ulong)(i * size);
            if (size < 56 || at + 56 > (ulong)elf.Length) return [];
            ReadOnlySpan<byte> header = elf[(int)at..];
            if (BinaryPrimitives.ReadUInt32LittleEndian(header) != ProgramHeaderNote) continue;
            ulong offset = BinaryPrimitives.ReadUInt64LittleEndian(header[8..]), bytes = BinaryPrimitives.ReadUInt64LittleEndian(header[32..]);
            var notes = new byte[Math.Min(bytes, 4096)];
            int got = Math.Max(0, Sys.PRead(fd, notes, (long)offset).Value);
            if (Find(notes.AsSpan(0, got)) is { } id) return id;
        }

        return [];
    }

    private static byte[]? Find(ReadOnlySpan<byte> notes)
    {
        while (notes.Length >= 12)
        {
            int nameBytes = BinaryPrimitives.ReadInt32LittleEndian(notes), idBytes = BinaryPrimitives.ReadInt32LittleEndian(notes[4..]);
            int type = BinaryPrimitives.ReadInt32LittleEndian(notes[8..]);
            if (nameBytes is < 0 or > 4096 || idBytes is < 0 or > 4096) return null;
            int start = 12 + ((nameBytes + 3) & ~3), next = start + ((idBytes + 3) & ~3);
            if (next > notes.Length) return null;
            if (type == NoteType && notes[12..].StartsWith("GNU\0"u8)) return notes.Slice(start, idBytes).ToArray();
            notes = notes[next..];
        }

        return null;
    }
}
