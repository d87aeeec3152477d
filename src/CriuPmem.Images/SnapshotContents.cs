using CriuPmem.Images.Messages;

namespace CriuPmem.Images;

/// <summary>All the messages of a snapshot that a restore needs, as read from its images.</summary>
internal sealed class SnapshotContents
{
    /// <summary>inventory.img.</summary>
    public InventoryEntry Inventory { get; set; } = new();

    /// <summary>pstree.img.</summary>
    public IReadOnlyList<PstreeEntry> Pstree { get; set; } = [];

    /// <summary>core-N.img by thread id.</summary>
    public Dictionary<uint, CoreEntry> Cores { get; } = [];

    /// <summary>ids-N.img by pid; zombies have none.</summary>
    public Dictionary<uint, TaskKobjIdsEntry> Ids { get; } = [];

    /// <summary>mm-N.img by pid; zombies have none.</summary>
    public Dictionary<uint, MmEntry> Mms { get; } = [];

    /// <summary>pagemap-N.img by pid.</summary>
    public Dictionary<uint, Pagemap> Pagemaps { get; } = [];

    /// <summary>pagemap-shmem-N.img by shared segment.</summary>
    public Dictionary<ulong, Pagemap> SharedPagemaps { get; } = [];

    /// <summary>Bytes of the pages in pages-N.img, or cpages-N.img, by N; a missing file is not in here.</summary>
    public Dictionary<uint, long> PagesFileBytes { get; } = [];

    /// <summary>fdinfo-N.img by descriptor table.</summary>
    public Dictionary<uint, IReadOnlyList<FdinfoEntry>> Fdinfos { get; } = [];

    /// <summary>fs-N.img by pid.</summary>
    public Dictionary<uint, FsEntry> Fs { get; } = [];

    /// <summary>files.img.</summary>
    public IReadOnlyList<FileEntry> Files { get; set; } = [];

    /// <summary>remap-fpath.img.</summary>
    public IReadOnlyList<RemapFilePathEntry> Remaps { get; set; } = [];

    /// <summary>Which ghost-file-N.img are there.</summary>
    public HashSet<uint> GhostFiles { get; } = [];

    /// <summary>pipes-data.img, without the contents.</summary>
    public List<PipeDataEntry> PipesData { get; } = [];

    /// <summary>fifo-data.img, without the contents.</summary>
    public List<PipeDataEntry> FifoData { get; } = [];

    /// <summary>sk-queues.img, without the contents.</summary>
    public List<SkPacketEntry> SocketQueues { get; } = [];

    /// <summary>tty-info.img.</summary>
    public IReadOnlyList<TtyInfoEntry> TtyInfos { get; set; } = [];

    /// <summary>tty-data.img.</summary>
    public IReadOnlyList<TtyDataEntry> TtyData { get; set; } = [];

    /// <summary>memfd.img.</summary>
    public IReadOnlyList<MemfdInodeEntry> Memfds { get; set; } = [];

    /// <summary>filelocks.img.</summary>
    public IReadOnlyList<FileLockEntry> FileLocks { get; set; } = [];

    /// <summary>seccomp.img; null if it is not there.</summary>
    public SeccompEntry? Seccomp { get; set; }

    /// <summary>timens-0.img, the clocks; null if it is not there.</summary>
    public TimensEntry? TimeNs { get; set; }

    /// <summary>cgroup.img; null if it is not there.</summary>
    public CgroupEntry? Cgroup { get; set; }

    /// <summary>cpuinfo.img; null if it is not there.</summary>
    public CpuinfoEntry? Cpuinfo { get; set; }

    /// <summary>True if the snapshot continues an older one ("parent").</summary>
    public bool HasParent { get; set; }

    /// <summary>True for a process of which only the exit status is left.</summary>
    public bool IsZombie(uint pid) =>
        Cores.TryGetValue(pid, out CoreEntry? core) && core.Tc?.TaskState == (uint)TaskState.Dead;

    /// <summary>Reads everything that the process tree leads to; throws at the first file that is missing or
    /// damaged. What it says about itself is checked by <see cref="SnapshotValidator"/>.</summary>
    public static SnapshotContents Load(SnapshotReader reader)
    {
        var contents = new SnapshotContents
        {
            Inventory = reader.ReadSingle<InventoryEntry>(ImageKind.Inventory),
            Pstree = reader.ReadAll<PstreeEntry>(ImageKind.Pstree),
            Files = reader.ReadAllIfPresent<FileEntry>(ImageKind.Files),
            Remaps = reader.ReadAllIfPresent<RemapFilePathEntry>(ImageKind.RemapFpath),
            TtyInfos = reader.ReadAllIfPresent<TtyInfoEntry>(ImageKind.TtyInfo),
            TtyData = reader.ReadAllIfPresent<TtyDataEntry>(ImageKind.TtyData),
            Memfds = reader.ReadAllIfPresent<MemfdInodeEntry>(ImageKind.Memfd),
            FileLocks = reader.ReadAllIfPresent<FileLockEntry>(ImageKind.FileLocks),
            Seccomp = ReadSingleIfPresent<SeccompEntry>(reader, ImageKind.Seccomp),
            TimeNs = reader.LengthOf(ImageKind.TimeNs, 0) < 0 ? null : reader.ReadSingle<TimensEntry>(ImageKind.TimeNs, 0),
            Cgroup = ReadSingleIfPresent<CgroupEntry>(reader, ImageKind.Cgroup),
            Cpuinfo = ReadSingleIfPresent<CpuinfoEntry>(reader, ImageKind.Cpuinfo),
            HasParent = reader.HasParent(),
        };
        LoadQueues(reader, ImageKind.PipesData, PipeDataEntry.Parser, contents.PipesData, data => data.Bytes);
        LoadQueues(reader, ImageKind.FifoData, PipeDataEntry.Parser, contents.FifoData, data => data.Bytes);
        LoadQueues(reader, ImageKind.SkQueues, SkPacketEntry.Parser, contents.SocketQueues, data => data.Length);
        foreach (RemapFilePathEntry remap in contents.Remaps)
        {
            uint ghost = remap.RemapId & 0x7FFF_FFFF;
            if (IsGhost(remap) && reader.LengthOf(ImageKind.GhostFile, ghost) >= 0) contents.GhostFiles.Add(ghost);
        }

        var spaces = new HashSet<uint>();
        var fsTables = new HashSet<uint>();
        using (var ahead = new ReadAhead(reader))
        {
            ahead.Begin(contents.Pstree);
            foreach (PstreeEntry process in contents.Pstree) contents.LoadProcess(reader, ahead, process, spaces, fsTables);
        }

        foreach (MemfdInodeEntry memfd in contents.Memfds) contents.LoadShared(reader, memfd.Shmid);
        contents.LoadSharedOfMappings(reader);
        return contents;
    }

    /// <summary>True if a remap stands for a deleted file with its contents in the snapshot.</summary>
    public static bool IsGhost(RemapFilePathEntry remap) =>
        remap.HasRemapType ? remap.RemapType == RemapType.Ghost : (remap.RemapId & 0x8000_0000) != 0;

    private void LoadProcess(
        SnapshotReader reader, ReadAhead ahead, PstreeEntry process, HashSet<uint> spaces, HashSet<uint> fsTables)
    {
        uint pid = process.Pid;
        LoadCore(ahead, pid);
        if (IsZombie(pid)) return; // The peer writes nothing else of it, and noise as its thread ids.
        foreach (uint tid in process.Threads) LoadCore(ahead, tid);
        var ids = ahead.ReadSingle<TaskKobjIdsEntry>(ImageKind.Ids, pid);
        Ids[pid] = ids;
        bool sharesSpace = !spaces.Add(ids.VmId);
        if (!sharesSpace || reader.LengthOf(ImageKind.Mm, pid) >= 0)
        {
            Mms[pid] = ahead.ReadSingle<MmEntry>(ImageKind.Mm, pid);
            using ImageReader image = reader.Open(ImageKind.Pagemap, pid);
            Pagemaps[pid] = Pagemap.Read(image);
            LoadPagesLength(reader, Pagemaps[pid].Head);
        }

        if (fsTables.Add(ids.FsId) || reader.LengthOf(ImageKind.Fs, pid) >= 0)
        {
            Fs[pid] = ahead.ReadSingle<FsEntry>(ImageKind.Fs, pid);
        }

        if (Fdinfos.ContainsKey(ids.FilesId)) return;
        Fdinfos[ids.FilesId] = reader.ReadAll<FdinfoEntry>(ImageKind.Fdinfo, ids.FilesId);
    }

    private void LoadCore(ReadAhead ahead, uint tid)
    {
        if (!Cores.ContainsKey(tid)) Cores[tid] = ahead.ReadSingle<CoreEntry>(ImageKind.Core, tid);
    }

    private void LoadSharedOfMappings(SnapshotReader reader)
    {
        foreach (MmEntry mm in Mms.Values)
        {
            foreach (VmaEntry vma in mm.Vmas)
            {
                if (((VmaStatus)vma.Status & VmaStatus.AnonShared) != 0) LoadShared(reader, vma.Shmid);
            }
        }
    }

    private void LoadShared(SnapshotReader reader, ulong segment)
    {
        if (segment > long.MaxValue || SharedPagemaps.ContainsKey(segment)) return;
        using ImageReader? image = reader.OpenIfPresent(ImageKind.PagemapShmem, (long)segment);
        if (image is null) return;
        Pagemap map = Pagemap.Read(image);
        SharedPagemaps[segment] = map;
        LoadPagesLength(reader, map.Head);
    }

    private void LoadPagesLength(SnapshotReader reader, PagemapHead head)
    {
        long lengthBytes = reader.PagesBytes(head.PagesId, head.Compressed);
        if (lengthBytes >= 0) PagesFileBytes[head.PagesId] = lengthBytes;
    }

    private static T? ReadSingleIfPresent<T>(SnapshotReader reader, ImageKind kind)
        where T : class, Google.Protobuf.IMessage<T>, new() =>
        reader.LengthOf(kind) < 0 ? null : reader.ReadSingle<T>(kind);

    private static void LoadQueues<T>(
        SnapshotReader reader, ImageKind kind, Google.Protobuf.MessageParser<T> parser, List<T> entries,
        Func<T, long> blobBytes)
        where T : class, Google.Protobuf.IMessage<T>
    {
        using ImageReader? image = reader.OpenIfPresent(kind);
        if (image is null) return;
        while (image.TryRead(parser, out T? entry))
        {
            image.SkipRaw(blobBytes(entry));
            entries.Add(entry);
        }
    }
}
