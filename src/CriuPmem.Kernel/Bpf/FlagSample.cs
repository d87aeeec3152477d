using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>Mappings of the engine's own, one for each thing that a program can ask of a mapping, to learn <see cref="MappingFlagBits"/> from.</summary>
internal static class FlagSample
{
    private static ReadOnlySpan<int> Advice =>
    [
        MADV_SEQUENTIAL, MADV_RANDOM, MADV_DONTFORK, MADV_MERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_WIPEONFORK, MADV_GUARD_INSTALL,
    ];

    private static int Pages => Advice.Length + 8;

    /// <summary>What the two ways of reading tell of the engine's own mappings; null when they do not agree.</summary>
    public static List<(ulong Word, VmFlags Flags)>? TryTake(MappingIterator iterator)
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
        Map(ref at, MAP_DROPPABLE, MAP_ANONYMOUS);
        Map(ref at, MAP_SHARED, MAP_ANONYMOUS);
        MapSharedFile(ref at);
        SysResult made = Syscall.Invoke(SyscallNumber.userfaultfd, O_CLOEXEC | Sys.UFFD_USER_MODE_ONLY);
        if (made.Failed) return null;
        Sys.UserfaultfdApi(made.Value, 0);
        Map(ref at, 0);
        Sys.UserfaultfdRegister(made.Value, at - (2 * PageSize), PageSize, Sys.UFFDIO_REGISTER_MODE_MISSING);
        Map(ref at, 0);
        Sys.UserfaultfdRegister(made.Value, at - (2 * PageSize), PageSize, Sys.UFFDIO_REGISTER_MODE_WP);
        return new OwnedFd(made.Value);
    }

    private static void Map(ref ulong at, int flags, int kind = MAP_PRIVATE | MAP_ANONYMOUS)
    {
        Sys.Mmap(at, PageSize, PROT_READ | PROT_WRITE, kind | MAP_FIXED | flags, -1, 0);
        at += 2 * PageSize;
    }

    // Of a file that cannot be written: the kernel has two bits for what is shared, of which this mapping has one.
    private static void MapSharedFile(ref ulong at)
    {
        SysResult file = Sys.OpenAt(AT_FDCWD, "/proc/self/exe", O_RDONLY | O_CLOEXEC);
        if (!file.Failed)
        {
            using var opened = new OwnedFd(file.Value);
            Sys.Mmap(at, PageSize, PROT_READ, MAP_SHARED | MAP_FIXED, opened.Fd, 0);
        }

        at += 2 * PageSize;
    }

    private static List<(ulong Word, VmFlags Flags)>? TryRead(MappingIterator iterator)
    {
        using ProcDirectory? self = ProcDirectory.TryOpen(Environment.ProcessId);
        var told = new List<MemoryMapping>();
        var words = new List<MappingIterator.Entry>();
        if (self is null || !SmapsParser.TryRead(self, "smaps", told) || !iterator.TryRead(self.Pid, words)) return null;
        List<(ulong Word, VmFlags Flags)> pairs = Pair(told, words);
        return pairs.Count < Pages ? null : pairs;
    }

    /// <summary>The words and flags of the mappings that both ways tell of; others have changed between the two.</summary>
    public static List<(ulong Word, VmFlags Flags)> Pair(List<MemoryMapping> told, List<MappingIterator.Entry> words)
    {
        var pairs = new List<(ulong, VmFlags)>();
        var byStart = new Dictionary<ulong, MappingIterator.Entry>(words.Count);
        foreach (MappingIterator.Entry word in words) byStart[word.Start] = word;
        foreach (ref readonly MemoryMapping mapping in CollectionsMarshal.AsSpan(told))
        {
            if (byStart.TryGetValue(mapping.Start, out MappingIterator.Entry word) && word.End == mapping.End) pairs.Add((word.Flags, mapping.Flags));
        }

        return pairs;
    }
}
