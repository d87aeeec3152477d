using CriuPmem.Engine.Dump;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Memory;

/// <summary>Scratch mappings in a process: the present one is hidden from its list of mappings, one of an engine that was killed is unmapped.</summary>
/// <remarks>
/// The kernel joins neighbours of one kind, so a scratch may be the beginning or the end of a larger mapping: of another
/// scratch, or of memory into which the program itself writes code.
/// </remarks>
internal static class AbandonedScratch
{
    private const int Executable = PROT_READ | PROT_WRITE | PROT_EXEC;

    /// <summary>Takes a scratch out of a list of mappings.</summary>
    public static void Hide(List<MemoryMapping> mappings, ulong scratch)
    {
        ulong end = scratch + SyscallBatch.ScratchBytes;
        int at = mappings.FindIndex(mapping => mapping.Start <= scratch && end <= mapping.End);
        if (at < 0) return;
        MemoryMapping whole = mappings[at];
        mappings.RemoveAt(at);
        if (end < whole.End) mappings.Insert(at, whole with { Start = end });
        if (whole.Start < scratch) mappings.Insert(at, whole with { End = scratch });
    }

    /// <summary>Has a frozen process unmap what engines left in it that died.</summary>
    public static void Remove(DumpProcess process)
    {
        if (process.Space is null) return;
        while (Find(process) is { } scratch)
        {
            SyscallBatch batch = process.Space.Batch;
            batch.Clear();
            batch.Must("munmap", SyscallNumber.munmap, (long)scratch, SyscallBatch.ScratchBytes);
            process.Space.Run(process.Leader.Task);
            Hide(process.Mappings, scratch);
        }
    }

    private static ulong? Find(DumpProcess process)
    {
        foreach (MemoryMapping mapping in process.Mappings)
        {
            if (mapping.Shared || mapping.Inode != 0 || mapping.Name.Length > 0 || mapping.Protection != Executable || mapping.LengthBytes < SyscallBatch.ScratchBytes) continue;
            foreach (ulong start in (ReadOnlySpan<ulong>)[mapping.Start, mapping.End - SyscallBatch.ScratchBytes])
            {
                if (IsOurs(process, start) && !IsInUse(process, start)) return start;
            }
        }

        return null;
    }

    private static bool IsOurs(DumpProcess process, ulong start)
    {
        Span<byte> code = stackalloc byte[RemoteCode.Batch.Length];
        return process.TryRead(start + SyscallBatch.CodeOffset, code) && code.SequenceEqual(RemoteCode.Batch);
    }

    private static bool IsInUse(DumpProcess process, ulong start) => process.Threads.Exists(thread =>
        thread.Task.Registers.rip - start < SyscallBatch.ScratchBytes || thread.Task.Registers.rsp - start < SyscallBatch.ScratchBytes);
}
