using System.Runtime.InteropServices;
using CriuPmem.Engine.Lazy;
using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Memory;

/// <summary>Builds a process's address space: mappings, their contents, their settings.</summary>
/// <remarks>
/// Everything is done by the process itself, in batches: it maps, reads its own pages from the images (pread into fresh
/// anonymous memory), and takes away what it may not keep. Only the scratch mapping stays, to the end of the restore.
/// </remarks>
internal sealed class MemoryRestore(RestoreContext context) : IDisposable
{
    private const ulong HugePageBytes = 2 << 20;
    private const ulong PopulateFromBytes = 4 * PageSize;
    private const ulong BothEndsFromBytes = 64 << 20; // a second thread costs a tenth of a millisecond
    private const ulong MaxReadBytes = 256 << 20; // a tenth of a second; between two of them a restore can be ended
    private static readonly bool s_hugePages = !(ReadSetting("/sys/kernel/mm/transparent_hugepage/enabled") ?? "[never]").Contains("[never]", StringComparison.Ordinal);

    private readonly Dictionary<(uint Id, uint Flags), int> _received = []; // mapped file → descriptor in the process
    private int _receivedCount;
    private int _firstPages; // descriptor of the first pages file in the process; the others follow

    /// <summary>What children keep of their parents' memory.</summary>
    public InheritancePlans Plans { get; } = new(context);

    /// <summary>Bytes of page contents brought back.</summary>
    public long RestoredBytes { get; private set; }

    /// <summary>Pages compared with a parent's.</summary>
    public long ComparedPages { get; private set; }

    /// <summary>Pages that a child goes on sharing with its parent.</summary>
    public long SharedPages { get; private set; }

    /// <summary>Builds the memory of a process; its last calls run while others are made.</summary>
    /// <param name="process">The process.</param>
    /// <param name="parent">The parent with whose memory, built already, it was born; null when it starts from nothing.</param>
    /// <param name="lent">Pages that children, born with this memory, go on sharing: they cannot come later (--lazy).</param>
    /// <exception cref="CheckpointException">The kernel refuses what the images say.</exception>
    public void Build(RestoreProcess process, RestoreProcess? parent, IReadOnlyList<(ulong Start, ulong End)> lent)
    {
        try
        {
            BuildAll(process, parent, lent);
        }
        catch (CheckpointException failure)
        {
            Explain(failure, process);
            throw;
        }
    }

    private static void Explain(CheckpointException failure, RestoreProcess process)
    {
        if (failure.Code != ErrorCode.SystemCall || failure.Pid != process.Pid) return;
        failure.ProcessName ??= process.Name;
        failure.Remedy ??= failure.ErrorNumber is (int)Errno.ENOMEM or (int)Errno.EAGAIN
            ? "Free some memory, or raise vm.overcommit_memory, vm.max_map_count or the restorer's limits (ulimit -v, -l), whichever it reaches"
            : $"No process can have had memory like that here: {ImageKind.Mm.FileName(process.Pid)} is damaged or of another machine, restore from another snapshot";
    }

    private void BuildAll(RestoreProcess process, RestoreProcess? parent, IReadOnlyList<(ulong Start, ulong End)> lent)
    {
        var calls = new RemoteCalls(process.Space, process.Leader.Task);
        MmEntry memory = process.Memory!;
        Inheritance inherited = parent is null ? Inheritance.None
            : parent == process.Parent ? Plans.Of(process)
            : Inheritance.Plan(context, parent, process);
        UnmapAllBut(calls, memory, inherited);
        if (!inherited.Any) MapVdso(process, calls);
        SavedPages? pages = context.PagesOf(process);
        ReceiveFiles(process, calls, pages);
        SetBounds(process, parent, calls); // now: a program file that is mapped cannot be set any more (EBUSY)
        var filled = Filled(memory, pages);
        Map(process, calls, memory, filled, inherited);
        if (pages is not null)
        {
            LazyMemory? later = LeaveToPager(process, pages, inherited, lent);
            if (inherited.Any) FillDifferences(process, calls, pages, inherited, later?.Now ?? inherited.Reads);
            else Fill(process, calls, pages, later?.Now ?? pages.Runs);
            foreach ((ulong start, ulong end) in later?.Cleared ?? []) calls.Must("madvise", SyscallNumber.madvise, (long)start, (long)(end - start), MADV_DONTNEED);
        }

        Settle(calls, process, filled);
        if (_receivedCount > 0) calls.Must("close_range", SyscallNumber.close_range, 0, _receivedCount - 1, 0);
        context.Launch(process, calls, failure => Explain(failure, process));
        _received.Clear();
    }

    /// <inheritdoc />
    public void Dispose() => Plans.Dispose();

    /// <summary>Clears the address space but for the scratch and what is inherited.</summary>
    private static void UnmapAllBut(RemoteCalls calls, MmEntry memory, Inheritance inherited)
    {
        ulong scratch = calls.Batch.Scratch.Value;
        var kept = new List<(ulong Start, ulong End)> { (scratch, scratch + SyscallBatch.ScratchBytes), (TaskSize, TaskSize) };
        if (inherited.Any)
        {
            kept.AddRange(memory.Vmas.Where(vma => inherited.Keeps(vma) || Is(vma, VmaStatus.Vdso | VmaStatus.Vvar)).Select(vma => (vma.Start, vma.End)));
        }

        kept.Sort();
        ulong at = 0;
        foreach ((ulong start, ulong end) in kept)
        {
            if (start > at) calls.Must("munmap", SyscallNumber.munmap, (long)at, (long)(start - at));
            at = Math.Max(at, end);
        }
    }

    private static void MapVdso(RestoreProcess process, RemoteCalls calls)
    {
        VmaEntry? vvar = null, vdso = null;
        foreach (VmaEntry vma in process.Memory!.Vmas)
        {
            if (Is(vma, VmaStatus.Vvar)) vvar ??= vma;
            else if (Is(vma, VmaStatus.Vdso)) vdso = vma;
        }

        if (vdso is null) return;
        ulong start = vvar?.Start ?? vdso.Start;
        if (VdsoLayout.OwnBytes != vdso.End - start)
        {
            throw process.Fail(ErrorCode.ImageUnsupported, "it was saved under a kernel with another vDSO, which cannot be restored yet", "Restore it under the kernel that it was saved under");
        }

        calls.Must("mapping the vDSO", SyscallNumber.arch_prctl, ARCH_MAP_VDSO_64, (long)start);
    }

    /// <summary>Sends in the files that are mapped, the program file and the pages file.</summary>
    private void ReceiveFiles(RestoreProcess process, RemoteCalls calls, SavedPages? saved)
    {
        var fds = new List<int>();
        Want(process.Memory!.ExeFileId, O_RDONLY);
        foreach (VmaEntry vma in process.Memory.Vmas)
        {
            if (Is(vma, VmaStatus.FilePrivate | VmaStatus.FileShared)) Want((uint)vma.Shmid, vma.Fdflags);
        }

        _firstPages = fds.Count;
        foreach (PagesSource file in saved?.Files ?? []) fds.Add(file.Open(out _));

        for (int first = 0; first < fds.Count; first += Transport.MaxPerMessage)
        {
            int count = Math.Min(Transport.MaxPerMessage, fds.Count - first);
            context.Transport.Pass(calls, CollectionsMarshal.AsSpan(fds).Slice(first, count));
        }

        for (int i = _firstPages; i < fds.Count; i++) Sys.Close(fds[i]);
        _receivedCount = fds.Count;

        void Want(uint id, uint flags)
        {
            if (_received.TryAdd((id, flags), fds.Count)) fds.Add(context.Files.OpenMapped(id, flags));
        }
    }

    /// <summary>The mappings (by their start) into which contents are read.</summary>
    private static HashSet<ulong> Filled(MmEntry memory, SavedPages? pages)
    {
        var filled = new HashSet<ulong>();
        int at = 0;
        IEnumerable<(ulong Start, ulong End)> runs = pages is null ? [] : pages.Runs.Select(static run => (run.Start, run.End));
        if (pages?.Absent.Count > 0) runs = runs.Concat(pages.Absent).Order();
        foreach ((ulong Start, ulong End) run in runs)
        {
            while (at < memory.Vmas.Count && memory.Vmas[at].End <= run.Start) at++;
            for (int i = at; i < memory.Vmas.Count && memory.Vmas[i].Start < run.End; i++) filled.Add(memory.Vmas[i].Start);
        }

        return filled;
    }

    /// <summary>Makes the mappings. Neighbours of private anonymous memory that begin alike are made by one call.</summary>
    private void Map(RestoreProcess process, RemoteCalls calls, MmEntry memory, HashSet<ulong> filled, Inheritance inherited)
    {
        (ulong Start, ulong End, int Protection, int Flags) anonymous = default;
        foreach (VmaEntry vma in memory.Vmas)
        {
            var status = (VmaStatus)vma.Status;
            if ((status & (VmaStatus.Vsyscall | VmaStatus.Vdso | VmaStatus.Vvar)) != 0) continue;
            int flags = (int)vma.Flags & ~MAP_LOCKED | MAP_FIXED;
            int prot = (int)vma.Prot;
            if (filled.Contains(vma.Start) && (vma.Flags & MAP_PRIVATE) != 0) prot |= PROT_READ | PROT_WRITE;
            if (inherited.Keeps(vma))
            {
                calls.Must("mprotect", SyscallNumber.mprotect, (long)vma.Start, (long)(vma.End - vma.Start), prot);
            }
            else if (Is(vma, VmaStatus.FilePrivate | VmaStatus.FileShared))
            {
                long fd = _received[((uint)vma.Shmid, vma.Fdflags)];
                calls.Must("mmap", SyscallNumber.mmap, (long)vma.Start, (long)(vma.End - vma.Start), prot, flags, fd, (long)vma.Pgoff);
            }
            else if (!Is(vma, VmaStatus.AnonPrivate))
            {
                throw process.Fail(ErrorCode.ImageUnsupported, "memory of this kind cannot be restored yet", null, $"mapping {vma.Start:x}-{vma.End:x}, status {status}");
            }
            else if (anonymous.End == vma.Start && anonymous.Protection == prot && anonymous.Flags == flags && (flags & MAP_GROWSDOWN) == 0)
            {
                anonymous.End = vma.End;
            }
            else
            {
                MapAnonymous();
                anonymous = (vma.Start, vma.End, prot, flags);
            }
        }

        MapAnonymous();

        void MapAnonymous()
        {
            if (anonymous.End == 0) return;
            calls.Must("mmap", SyscallNumber.mmap, (long)anonymous.Start, (long)(anonymous.End - anonymous.Start), anonymous.Protection, anonymous.Flags, -1);
        }
    }

    /// <summary>With --lazy or --lazy-pages leaves what can wait to the pager, and tells what cannot; null when nothing can.</summary>
    private LazyMemory? LeaveToPager(RestoreProcess process, SavedPages pages, Inheritance inherited, IReadOnlyList<(ulong Start, ulong End)> lent)
    {
        LazyMemory? memory = context.Options.LazyPages ? LazyMemory.ForDaemon(process, pages)
            : !context.Lazy.IsWanted ? null
            : LazyMemory.Of(process, inherited.Any ? pages with { Runs = inherited.Reads } : pages, lent, inherited.Any);
        if (memory is not null) context.Lazy.Add(memory);
        return memory;
    }

    /// <summary>Reads the contents. Pages that follow one another in a file are read by one call, whatever runs they belong to.</summary>
    private void Fill(RestoreProcess process, RemoteCalls calls, SavedPages pages, IReadOnlyList<SavedRun> runs)
    {
        VmaEntry? vdso = VdsoOf(process);
        List<SavedRun> wanted = [.. runs.Where(run => !IsIn(run, vdso))]; // that one is the kernel's own, mapped already
        RestoredBytes += wanted.Sum(static run => (long)run.LengthBytes);
        List<SavedRun> compressed = [.. wanted.Where(run => pages.Files[run.File].Compressed)];
        foreach (SavedRun run in compressed) MakeHuge(calls, process, run.Start, run.LengthBytes);
        var pieces = new FillPieces(compressed.Count == 0 ? wanted : wanted.Where(run => !pages.Files[run.File].Compressed));
        if (pieces.LengthBytes >= BothEndsFromBytes && Environment.ProcessorCount > 1) FillFromBothEnds(process, calls, pages, pieces);
        else ReadPieces(process, calls, pieces, isNew: true);
        FillCompressed(process, calls, pages, compressed);
    }

    /// <summary>The process reads from the start, and a thread of the engine writes from the end.</summary>
    private void FillFromBothEnds(RestoreProcess process, RemoteCalls calls, SavedPages pages, FillPieces pieces)
    {
        calls.Flush(); // the mappings must be there
        using var ahead = new ReadAhead(pages, pieces);
        using var side = new SideFill(process, pages, pieces, (start, bytes) => HugePart(process, start, bytes));
        ReadPieces(process, calls, pieces, isNew: true, atOnceBytes: 1);
        side.Finish();
    }

    /// <summary>Has the process read pieces, until none is left.</summary>
    /// <param name="process">The process.</param>
    /// <param name="calls">Its calls.</param>
    /// <param name="pieces">The pieces.</param>
    /// <param name="isNew">Nothing is there yet.</param>
    /// <param name="atOnceBytes">So much is collected before it is run.</param>
    private void ReadPieces(RestoreProcess process, RemoteCalls calls, FillPieces pieces, bool isNew, ulong atOnceBytes = MaxReadBytes)
    {
        ulong collected = 0;
        while (pieces.TryTakeFirst(out FillPiece? piece))
        {
            for (int i = 0; isNew && i < piece.Vectors.Count; i += 2) MakeHuge(calls, process, piece.Vectors[i], piece.Vectors[i + 1]);
            if (isNew) Populate(calls, piece.Vectors);
            calls.Room(piece.Vectors.Count * 8 + 16, 2);
            RemoteAddress list = calls.Batch.Data(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(piece.Vectors)));
            calls.MustMove("reading pages from the images", piece.LengthBytes, SyscallNumber.preadv, _firstPages + piece.File, list, piece.Vectors.Count / 2, (long)piece.From, 0);
            collected += piece.LengthBytes;
            if (collected < atOnceBytes) continue;
            calls.Flush();
            collected = 0;
        }
    }

    /// <summary>Has pages made where many lie together, which costs less than a fault for each when contents arrive.</summary>
    private static void Populate(RemoteCalls calls, List<ulong> vectors)
    {
        for (int first = 0, next; first < vectors.Count; first = next)
        {
            ulong start = vectors[first], end = start + vectors[first + 1];
            for (next = first + 2; next < vectors.Count && vectors[next] == end; next += 2) end += vectors[next + 1];
            if (end - start is >= PopulateFromBytes and <= HugePageBytes) calls.Try(SyscallNumber.madvise, (long)start, (long)(end - start), MADV_POPULATE_WRITE);
        }
    }

    private static void FillCompressed(RestoreProcess process, RemoteCalls calls, SavedPages pages, List<SavedRun> runs)
    {
        if (runs.Count == 0) return;
        calls.Flush(); // the mappings must be there
        CompressedFill.Run(process, pages, runs);
    }

    /// <summary>Takes away what only the parent has, and reads only what differs from the parent's.</summary>
    private void FillDifferences(RestoreProcess process, RemoteCalls calls, SavedPages pages, Inheritance inherited, IReadOnlyList<SavedRun> reads)
    {
        foreach ((ulong address, ulong lengthBytes) in inherited.Drops)
        {
            calls.Must("madvise", SyscallNumber.madvise, (long)address, (long)lengthBytes, MADV_DONTNEED);
        }

        VmaEntry? vdso = VdsoOf(process);
        List<SavedRun> wanted = [.. reads.Where(run => !IsIn(run, vdso))];
        ulong read = wanted.Aggregate(0UL, static (sum, run) => sum + run.LengthBytes);
        ReadPieces(process, calls, new FillPieces(wanted.Where(run => !pages.Files[run.File].Compressed)), isNew: false);
        FillCompressed(process, calls, pages, [.. wanted.Where(run => pages.Files[run.File].Compressed)]);
        RestoredBytes += (long)read;
        ComparedPages += inherited.ComparedPages;
        SharedPages += inherited.Shared.Sum(static shared => (long)(shared.End - shared.Start)) / (long)PageSize;
    }

    /// <summary>
    /// Has huge pages made before contents arrive: a fifth of the time, for the wholly filled stretches. MADV_COLLAPSE
    /// wants one page of each to be there, and, unlike MADV_HUGEPAGE, leaves no mark on the mapping.
    /// </summary>
    private static void MakeHuge(RemoteCalls calls, RestoreProcess process, ulong start, ulong bytes)
    {
        (ulong first, ulong end) = HugePart(process, start, bytes);
        if (first >= end) return;
        for (ulong at = first; at < end; at += HugePageBytes)
        {
            calls.Try(SyscallNumber.madvise, (long)at, (long)PageSize, MADV_POPULATE_WRITE);
        }

        calls.Try(SyscallNumber.madvise, (long)first, (long)(end - first), MADV_COLLAPSE);
    }

    /// <summary>The part of a stretch for which huge pages shall be made; empty for none.</summary>
    private static (ulong First, ulong End) HugePart(RestoreProcess process, ulong start, ulong bytes)
    {
        ulong first = (start + HugePageBytes - 1) & ~(HugePageBytes - 1), end = (start + bytes) & ~(HugePageBytes - 1);
        if (!s_hugePages || first >= end || process.Memory!.ThpDisabled) return default;
        VmaEntry? vma = process.Memory.Vmas.FirstOrDefault(vma => vma.Start <= start && start < vma.End);
        return vma is not null && MayBeHuge(process, vma) ? (first, end) : default;
    }

    /// <summary>Whether a mapping may have huge pages that the kernel is asked for.</summary>
    public static bool MayBeHuge(RestoreProcess process, VmaEntry vma) =>
        s_hugePages && !process.Memory!.ThpDisabled && Is(vma, VmaStatus.AnonPrivate) && (vma.Madv & 1UL << MADV_NOHUGEPAGE) == 0;

    private static VmaEntry? VdsoOf(RestoreProcess process) => process.Memory!.Vmas.FirstOrDefault(static vma => Is(vma, VmaStatus.Vdso));

    private static bool IsIn(SavedRun run, VmaEntry? vma) => vma is not null && run.Start >= vma.Start && run.Start < vma.End;

    /// <summary>Protections, advice and locks, once the contents are there.</summary>
    private static void Settle(RemoteCalls calls, RestoreProcess process, HashSet<ulong> filled)
    {
        foreach ((ulong start, ulong end) in process.Guards)
        {
            calls.Must("madvise(MADV_GUARD_INSTALL)", SyscallNumber.madvise, (long)start, (long)(end - start), MADV_GUARD_INSTALL);
        }

        Advise(calls, process.Memory!.Vmas);
        foreach (VmaEntry vma in process.Memory.Vmas)
        {
            if (Is(vma, VmaStatus.Vsyscall | VmaStatus.Vdso | VmaStatus.Vvar)) continue;
            long start = (long)vma.Start, length = (long)(vma.End - vma.Start);
            int prot = (int)vma.Prot;
            if (filled.Contains(vma.Start) && (vma.Flags & MAP_PRIVATE) != 0 && (prot & (PROT_READ | PROT_WRITE)) != (PROT_READ | PROT_WRITE))
            {
                calls.Must("mprotect", SyscallNumber.mprotect, start, length, prot);
            }

            if ((vma.Flags & MAP_LOCKED) == 0) continue;
            if (vma.LockOnFault) calls.Must("mlock2", SyscallNumber.mlock2, start, length, MLOCK_ONFAULT);
            else calls.Must("mlock", SyscallNumber.mlock, start, length);
        }
    }

    /// <summary>Gives advice, to neighbours that get the same by one call: before protections part what is one mapping yet.</summary>
    private static void Advise(RemoteCalls calls, Google.Protobuf.Collections.RepeatedField<VmaEntry> vmas)
    {
        for (int first = 0, next; first < vmas.Count; first = next)
        {
            ulong advised = Advice(vmas[first]);
            for (next = first + 1; next < vmas.Count && vmas[next].Start == vmas[next - 1].End && Advice(vmas[next]) == advised; next++)
            {
            }

            long start = (long)vmas[first].Start, length = (long)(vmas[next - 1].End - vmas[first].Start);
            for (ulong advice = advised; advice != 0; advice &= advice - 1)
            {
                calls.Must("madvise", SyscallNumber.madvise, start, length, System.Numerics.BitOperations.TrailingZeroCount(advice));
            }
        }

        static ulong Advice(VmaEntry vma) => Is(vma, VmaStatus.Vsyscall | VmaStatus.Vdso | VmaStatus.Vvar) ? 0 : vma.Madv;
    }

    /// <summary>Seals mappings (mseal(2), Linux 6.10): nothing about them can be changed from then on, and children inherit that.</summary>
    /// <exception cref="CheckpointException">The kernel cannot.</exception>
    public static void Seal(RestoreProcess process)
    {
        if (process.MemoryOwner is not null || !process.Memory!.Vmas.Any(vma => vma.Sealed)) return;
        var calls = new RemoteCalls(process.Space, process.Leader.Task);
        foreach (VmaEntry vma in process.Memory.Vmas.Where(vma => vma.Sealed))
        {
            calls.Room(0, 1);
            int sealing = calls.Try(SyscallNumber.mseal, (long)vma.Start, (long)(vma.End - vma.Start), 0);
            SysResult sealed_ = calls.RunAndKeep().Result(sealing);
            calls.Batch.Clear();
            if (!sealed_.Failed) continue;
            throw process.Fail(
                ErrorCode.KernelFeature, "the program sealed this memory (mseal), and this kernel does not seal it", "Restore it under Linux 6.10 or newer",
                $"mapping {vma.Start:x}-{vma.End:x}", sealed_.Errno);
        }
    }

    /// <summary>The bounds that /proc shows, the auxiliary vector, and the program file (PR_SET_MM_MAP(2const)).</summary>
    private void SetBounds(RestoreProcess process, RestoreProcess? parent, RemoteCalls calls)
    {
        MmEntry memory = process.Memory!;
        bool keepsExe = parent is not null && parent.Memory!.ExeFileId == memory.ExeFileId;
        calls.Room(1024, 2);
        RemoteAddress auxv = calls.Batch.Data(MemoryMarshal.AsBytes<ulong>(memory.MmSavedAuxv.ToArray()));
        var map = new PrctlMmMap
        {
            StartCode = memory.MmStartCode,
            EndCode = memory.MmEndCode,
            StartData = memory.MmStartData,
            EndData = memory.MmEndData,
            StartBrk = memory.MmStartBrk,
            Brk = memory.MmBrk,
            StartStack = memory.MmStartStack,
            ArgStart = memory.MmArgStart,
            ArgEnd = memory.MmArgEnd,
            EnvStart = memory.MmEnvStart,
            EnvEnd = memory.MmEnvEnd,
            Auxv = auxv.Value,
            AuxvBytes = (uint)memory.MmSavedAuxv.Count * 8,
            ExeFd = keepsExe ? uint.MaxValue : (uint)_received[(memory.ExeFileId, O_RDONLY)],
        };
        calls.Must("prctl(PR_SET_MM_MAP)", SyscallNumber.prctl, PR_SET_MM, PR_SET_MM_MAP, calls.Batch.Data(map), Marshal.SizeOf<PrctlMmMap>(), 0);
        if (memory.ThpDisabled) calls.Must("prctl(PR_SET_THP_DISABLE)", SyscallNumber.prctl, PR_SET_THP_DISABLE, 1);
        context.Log.Debug("memory", $"{process}: {memory.Vmas.Count} mappings");
    }

    private static bool Is(VmaEntry vma, VmaStatus any) => ((VmaStatus)vma.Status & any) != 0;

    private static string? ReadSetting(string path)
    {
        var buffer = new byte[256];
        SysResult read = Sys.ReadFile(AT_FDCWD, path, ref buffer);
        return read.Failed ? null : System.Text.Encoding.ASCII.GetString(buffer, 0, read.Value);
    }
}
