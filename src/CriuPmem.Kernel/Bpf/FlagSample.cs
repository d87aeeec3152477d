using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>Mappings of the engine's own, one for each thing that a program can ask of a mapping, to learn <see cref="MappingFlagBits"/> from.</summary>
internal static class FlagSample
{
    private static ReadOnlySpan<int> Advice =>
    [
        MADV_SEQUENTIAL, MADV_RANDOM, MADV_DONTFORK, MADV_MERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_WIPEONFORK,
    ];

    private static int Pages => Advice.Length + 5;

    /// <summary>Learns what the bits mean; null when the two ways of reading do not agree about the engine's own mappings.</summary>
    public static MappingFlagBits? TryLearn(MappingIterator iterator)
    {
        ulong lengthBytes = (ulong)(2 * Pages) * PageSize;
        SysResult memory = Sys.Mmap(0, lengthBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory.Failed) return null;
        using OwnedFd? tracker = Make((ulong)memory.Raw);
        try
        {
            return TryRead(iterator);
        }
        finally
        {
            Sys.Munmap((ulong)memory.Raw, lengthBytes);
        }
    }

    // Every second page, so that mappings do not become one. What a kernel or its limits refuse stays unknown.
    private static OwnedFd? Make(ulong start)
    {
        ulong at = start;
        foreach (int advice in Advice)
        {
            Map(ref at, 0);
            Sys.Madvise(at - (2 * PageSize), PageSize, advice);
        }

        Map(ref at, MAP_LOCKED);
        Map(ref at, 0);
        Syscall.Invoke(SyscallNumber.mlock2, (long)(at - (2 * PageSize)), (long)PageSize, MLOCK_ONFAULT);
        Map(ref at, MAP_GROWSDOWN);
        SysResult made = Syscall.Invoke(SyscallNumber.userfaultfd, O_CLOEXEC | Sys.UFFD_USER_MODE_ONLY);
        if (made.Failed) return null;
        Sys.UserfaultfdApi(made.Value, 0);
        Map(ref at, 0);
        Sys.UserfaultfdRegister(made.Value, at - (2 * PageSize), PageSize, Sys.UFFDIO_REGISTER_MODE_MISSING);
        Map(ref at, 0);
        Sys.UserfaultfdRegister(made.Value, at - (2 * PageSize), PageSize, Sys.UFFDIO_REGISTER_MODE_WP);
        return new OwnedFd(made.Value);
    }

    private static void Map(ref ulong at, int flags)
    {
        Sys.Mmap(at, PageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1, 0);
        at += 2 * PageSize;
    }

    private static MappingFlagBits? TryRead(MappingIterator iterator)
    {
        using ProcDirectory? self = ProcDirectory.TryOpen(Environment.ProcessId);
        var told = new List<MemoryMapping>();
        var words = new List<MappingIterator.Entry>();
        if (self is null || !SmapsParser.TryRead(self, "smaps", told) || !iterator.TryRead(self.Pid, words)) return null;
        var pairs = new List<(ulong Word, VmFlags Flags)>();
        var byStart = words.ToDictionary(word => word.Start);
        foreach (ref readonly MemoryMapping mapping in CollectionsMarshal.AsSpan(told))
        {
            // Another thread of the engine may have changed some between the two.
            if (byStart.TryGetValue(mapping.Start, out MappingIterator.Entry word) && word.End == mapping.End) pairs.Add((word.Flags, mapping.Flags));
        }

        return pairs.Count < Pages ? null : new MappingFlagBits(CollectionsMarshal.AsSpan(pairs));
    }
}
