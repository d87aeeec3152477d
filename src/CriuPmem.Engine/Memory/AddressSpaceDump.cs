using System.Globalization;
using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Memory;

/// <summary>Describes a process's mappings for mm-PID.img, and refuses those that cannot be saved.</summary>
internal static class AddressSpaceDump
{
    private const VmFlags NeverSaved = VmFlags.Io | VmFlags.PfnMap;
    private const VmFlags Watched = VmFlags.UffdMissing | VmFlags.UffdMinor; // write protection is how an engine tracks memory
    private const VmFlags Unsupported = NeverSaved | Watched | VmFlags.HugeTlb | VmFlags.ShadowStack;
    private const ulong MaxMadviseBit = 63;
    private const ulong LargeKib = 64 << 10;
    private const int ManyProcesses = 8;

    private static readonly MappingReader s_reader = new();

    /// <summary>Reads the mappings of <paramref name="process"/> and fills in its memory message.</summary>
    public static void Describe(DumpContext context, DumpProcess process)
    {
        process.Mappings.Clear();
        if (process.MappingsAhead is { } ahead) process.Mappings.AddRange(ahead.Value);
        else ReadMappings(process, process.Mappings, IsLarge(context, process));
        process.Memory.Vmas.Clear();
        AbandonedScratch.Remove(process);
        MmEntry memory = process.Memory;
        foreach (ref readonly MemoryMapping mapping in CollectionsMarshal.AsSpan(process.Mappings))
        {
            if (!mapping.Name.StartsWith("[v", StringComparison.Ordinal)) Refuse(process, mapping); // the kernel's own: vdso, vvar, vsyscall
            VmaEntry? last = memory.Vmas.Count == 0 ? null : memory.Vmas[^1];
            VmaEntry vma = Entry(mapping);
            if (mapping.Inode != 0) NameFile(context, process, mapping, vma);
            AddFlags(vma, mapping.Flags);
            // The two vvar mappings move together, and the format knows one.
            if (last is not null && last.End == vma.Start && ((VmaStatus)(last.Status & vma.Status)).HasFlag(VmaStatus.Vvar)) last.End = vma.End;
            else memory.Vmas.Add(vma);
        }

        ProcStat stat = process.Stat;
        memory.MmStartCode = stat.StartCode;
        memory.MmEndCode = stat.EndCode;
        memory.MmStartData = stat.StartData;
        memory.MmEndData = stat.EndData;
        memory.MmStartStack = stat.StartStack;
        memory.MmStartBrk = stat.StartBrk;
        memory.MmArgStart = stat.ArgStart;
        memory.MmArgEnd = stat.ArgEnd;
        memory.MmEnvStart = stat.EnvStart;
        memory.MmEnvEnd = stat.EnvEnd;
        ReadOnlySpan<ulong> auxv = MemoryMarshal.Cast<byte, ulong>(process.Proc.Read("auxv"));
        for (int i = 0; i + 1 < auxv.Length && auxv[i] != 0; i += 2) // AT_NULL ends it, and is not kept
        {
            memory.MmSavedAuxv.Add(auxv[i]);
            memory.MmSavedAuxv.Add(auxv[i + 1]);
        }

        memory.ThpDisabled = process.Leader.Status.ThpEnabled == false;
        memory.ExeFileId = context.Files.IdOfPath(process, "exe", O_RDONLY, "its program file");
    }

    /// <summary>Prepares for a tree that will stand still, if it looks as if that were worth it.</summary>
    public static void Prepare(int root)
    {
        using ProcDirectory? proc = ProcDirectory.TryOpen(root);
        if (proc?.Status() is { ResidentKib: >= LargeKib } || proc?.Children(root).Count >= ManyProcesses) s_reader.Prepare();
    }

    /// <summary>Has the mappings of a process read ahead; its scratch mapping is there already.</summary>
    public static void ReadAhead(DumpContext context, DumpProcess process)
    {
        bool large = IsLarge(context, process);
        var ahead = new Ahead<List<MemoryMapping>>(() =>
        {
            var mappings = new List<MemoryMapping>();
            ReadMappings(process, mappings, large);
            return mappings;
        });
        process.MappingsAhead = ahead;
        context.Side.Post(ahead.Prepare);
    }

    /// <summary>Reads the mappings and what they are, but not of which files: enough to plan what pages are saved.</summary>
    public static void Outline(DumpProcess process)
    {
        process.Mappings.Clear();
        process.Memory.Vmas.Clear();
        ReadMappings(process, process.Mappings, IsLarge(process));
        Straighten(process.Mappings);
        foreach (ref readonly MemoryMapping mapping in CollectionsMarshal.AsSpan(process.Mappings)) process.Memory.Vmas.Add(Entry(mapping));
    }

    /// <summary>A mapping that grows while the list is read piece by piece may be told twice, the second time as it is then.</summary>
    private static void Straighten(List<MemoryMapping> mappings)
    {
        int kept = 0;
        for (int i = 0; i < mappings.Count; i++)
        {
            MemoryMapping mapping = mappings[i];
            while (kept > 0 && mappings[kept - 1].Start >= mapping.Start) kept--;
            mappings[kept++] = mapping;
            if (kept > 1 && mappings[kept - 2].End > mapping.Start) mappings[kept - 2] = mappings[kept - 2] with { End = mapping.Start };
        }

        mappings.RemoveRange(kept, mappings.Count - kept);
    }

    private static bool IsLarge(DumpProcess process) => (process.Threads.Count > 0 ? process.Leader.Status : process.Proc.Status()) is { ResidentKib: >= LargeKib };

    private static bool IsLarge(DumpContext context, DumpProcess process) => IsLarge(process) || context.Tree.Processes.Count >= ManyProcesses;

    private static void ReadMappings(DumpProcess process, List<MemoryMapping> mappings, bool large)
    {
        if (!s_reader.TryRead(process.Proc, large, mappings) || mappings.Count == 0)
        {
            throw process.Fail(ErrorCode.UnsupportedMemory, "its mappings cannot be read");
        }

        if (process.Space is { } space) AbandonedScratch.Hide(mappings, space.Batch.Scratch.Value);
    }

    private static VmaEntry Entry(in MemoryMapping mapping)
    {
        VmaStatus status = mapping.Name switch
        {
            "[vsyscall]" => VmaStatus.Vsyscall | VmaStatus.AnonPrivate,
            "[vdso]" => VmaStatus.Regular | VmaStatus.Vdso | VmaStatus.AnonPrivate,
            "[vvar]" or "[vvar_vclock]" => VmaStatus.Regular | VmaStatus.Vvar | VmaStatus.AnonPrivate,
            _ when mapping.Inode == 0 => VmaStatus.Regular | VmaStatus.AnonPrivate,
            _ => VmaStatus.Regular | (mapping.Shared ? VmaStatus.FileShared : VmaStatus.FilePrivate),
        };
        var vma = new VmaEntry
        {
            Start = mapping.Start,
            End = mapping.End,
            Pgoff = 0,
            Shmid = 0,
            Prot = (uint)mapping.Protection,
            Flags = (uint)(mapping.Shared ? MAP_SHARED : MAP_PRIVATE),
            Fd = -1,
        };
        if ((status & VmaStatus.AnonPrivate) != 0) vma.Flags |= MAP_ANONYMOUS;
        if (status == (VmaStatus.Regular | VmaStatus.AnonPrivate) && (mapping.Flags & VmFlags.GrowsDown) != 0) vma.Flags |= MAP_GROWSDOWN;
        if (mapping.Name == "[heap]") status |= VmaStatus.Heap;
        vma.Status = (uint)status;
        return vma;
    }

    private static void NameFile(DumpContext context, DumpProcess process, in MemoryMapping mapping, VmaEntry vma)
    {
        vma.Pgoff = mapping.Offset;
        bool writable = mapping.Shared && (mapping.Flags & VmFlags.MayWrite) != 0;
        vma.Fdflags = (uint)(writable ? O_RDWR : O_RDONLY);
        if (context.Files.TryFindMapping(mapping, vma.Fdflags, out uint known))
        {
            vma.Shmid = known;
            return;
        }

        string what = Describe(mapping);
        string link = string.Create(CultureInfo.InvariantCulture, $"map_files/{mapping.Start:x}-{mapping.End:x}");
        Sys.Stat(process.Proc.Fd, link, out FileStat stat).OrThrow("stat", what);
        if (!MemoryFileInodes.Is(mapping.Name, stat))
        {
            vma.Shmid = context.Files.IdOfMapping(process, mapping, link, vma.Fdflags, what);
            return;
        }

        vma.Shmid = context.MemoryFiles.IdOfMapped(process, link, mapping.Name, stat, vma.Fdflags, what);
        vma.Status |= (uint)VmaStatus.Memfd;
    }

    private static string Describe(in MemoryMapping mapping) => string.Create(CultureInfo.InvariantCulture, $"mapping {mapping.Start:x}-{mapping.End:x} {mapping.Name}");

    private static void Refuse(DumpProcess process, in MemoryMapping mapping)
    {
        if ((mapping.Flags & Unsupported) == 0 && (mapping.Inode == 0 || !(mapping.Name.StartsWith("/SYSV", StringComparison.Ordinal) || IsOfKernel(mapping.Name)))) return;
        string what = Describe(mapping);
        if ((mapping.Flags & VmFlags.HugeTlb) != 0) throw process.Fail(ErrorCode.UnsupportedMemory, "hugetlb memory cannot be saved yet", "Run the program without reserved huge pages (transparent ones are fine)", what);
        if ((mapping.Flags & NeverSaved) != 0) throw process.Fail(ErrorCode.UnsupportedMemory, "it maps a device's memory", "Let the program close that device before the dump", what);
        if ((mapping.Flags & Watched) != 0 && !HoldsUserfaultfd(process)) throw process.Fail(ErrorCode.UnsupportedMemory, "its memory is not all back yet after a restore with --lazy, or another process watches it with userfaultfd", "Dump it again when process criu-pmem-pager has ended: it brings back a GiB in one or two seconds", what);
        if ((mapping.Flags & Watched) != 0) throw process.Fail(ErrorCode.UnsupportedMemory, "it is watched by a userfaultfd, which cannot be saved yet", "Let the program unregister it (UFFDIO_UNREGISTER) before the dump", what);
        if ((mapping.Flags & VmFlags.ShadowStack) != 0) throw process.Fail(ErrorCode.UnsupportedMemory, "shadow stacks cannot be saved yet", "Start the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off", what);
        if (IsOfKernel(mapping.Name)) throw process.Fail(ErrorCode.UnsupportedMemory, "memory shared with the kernel (io_uring, AIO, perf) cannot be saved yet", "Let the program use ordinary input/output (for MariaDB: --innodb-use-native-aio=0)", what);
        throw process.Fail(ErrorCode.UnsupportedMemory, "System V shared memory cannot be saved yet: it comes with IPC namespaces", "Let the program use POSIX shared memory", what);
    }

    private static bool HoldsUserfaultfd(DumpProcess process) =>
        process.Proc.Numbers("fd").Exists(fd => process.Proc.ReadLink($"fd/{fd}") == "anon_inode:[userfaultfd]");

    private static bool IsOfKernel(string name) => name.StartsWith("anon_inode:", StringComparison.Ordinal) || name.StartsWith("/[aio]", StringComparison.Ordinal);

    private static void AddFlags(VmaEntry vma, VmFlags flags)
    {
        if ((flags & VmFlags.Locked) != 0) vma.Flags |= MAP_LOCKED;
        if ((flags & VmFlags.LockOnFault) != 0) vma.LockOnFault = true;
        // The kernel may seal its own (vDSO); it does so again.
        if ((flags & VmFlags.Sealed) != 0 && ((VmaStatus)vma.Status & (VmaStatus.Vdso | VmaStatus.Vvar | VmaStatus.Vsyscall)) == 0) vma.Sealed = true;
        if ((flags & VmFlags.NoReserve) != 0) vma.Flags |= MAP_NORESERVE;
        ulong advice = 0;
        void Add(VmFlags flag, int madvise)
        {
            if ((flags & flag) != 0) advice |= 1UL << (int)Math.Min(MaxMadviseBit, (ulong)madvise);
        }

        Add(VmFlags.SequentialRead, MADV_SEQUENTIAL);
        Add(VmFlags.RandomRead, MADV_RANDOM);
        Add(VmFlags.DontCopy, MADV_DONTFORK);
        Add(VmFlags.Mergeable, MADV_MERGEABLE);
        Add(VmFlags.HugePage, MADV_HUGEPAGE);
        Add(VmFlags.NoHugePage, MADV_NOHUGEPAGE);
        Add(VmFlags.DontDump, MADV_DONTDUMP);
        Add(VmFlags.WipeOnFork, MADV_WIPEONFORK);
        if (advice != 0) vma.Madv = advice;
    }
}
