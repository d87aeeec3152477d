using CriuPmem.Images.Messages;

namespace CriuPmem.Images;

/// <summary>All the messages of a snapshot that a restore needs, as read from its images.</summary>
internal sealed class SnapshotContents
{
    /// <summary>inventory.img.</summary>
    public inventory_entry Inventory { get; set; } = new();

    /// <summary>pstree.img.</summary>
    public IReadOnlyList<pstree_entry> Pstree { get; set; } = [];

    /// <summary>core-N.img by thread id.</summary>
    public Dictionary<uint, core_entry> Cores { get; } = [];

    /// <summary>ids-N.img by pid; zombies have none.</summary>
    public Dictionary<uint, task_kobj_ids_entry> Ids { get; } = [];

    /// <summary>mm-N.img by pid; zombies have none.</summary>
    public Dictionary<uint, mm_entry> Mms { get; } = [];

    /// <summary>pagemap-N.img by pid.</summary>
    public Dictionary<uint, Pagemap> Pagemaps { get; } = [];

    /// <summary>pagemap-shmem-N.img by shared segment.</summary>
    public Dictionary<ulong, Pagemap> SharedPagemaps { get; } = [];

    /// <summary>Lengths of pages-N.img in bytes by N; a missing file is not in here.</summary>
    public Dictionary<uint, long> PagesFileBytes { get; } = [];

    /// <summary>fdinfo-N.img by descriptor table.</summary>
    public Dictionary<uint, IReadOnlyList<fdinfo_entry>> Fdinfos { get; } = [];

    /// <summary>fs-N.img by pid.</summary>
    public Dictionary<uint, fs_entry> Fs { get; } = [];

    /// <summary>files.img.</summary>
    public IReadOnlyList<file_entry> Files { get; set; } = [];

    /// <summary>remap-fpath.img.</summary>
    public IReadOnlyList<remap_file_path_entry> Remaps { get; set; } = [];

    /// <summary>Which ghost-file-N.img are there.</summary>
    public HashSet<uint> GhostFiles { get; } = [];

    /// <summary>pipes-data.img, without the contents.</summary>
    public List<pipe_data_entry> PipesData { get; } = [];

    /// <summary>fifo-data.img, without the contents.</summary>
    public List<pipe_data_entry> FifoData { get; } = [];

    /// <summary>sk-queues.img, without the contents.</summary>
    public List<sk_packet_entry> SocketQueues { get; } = [];

    /// <summary>tty-info.img.</summary>
    public IReadOnlyList<tty_info_entry> TtyInfos { get; set; } = [];

    /// <summary>tty-data.img.</summary>
    public IReadOnlyList<tty_data_entry> TtyData { get; set; } = [];

    /// <summary>memfd.img.</summary>
    public IReadOnlyList<memfd_inode_entry> Memfds { get; set; } = [];

    /// <summary>filelocks.img.</summary>
    public IReadOnlyList<file_lock_entry> FileLocks { get; set; } = [];

    /// <summary>seccomp.img; null if it is not there.</summary>
    public seccomp_entry? Seccomp { get; set; }

    /// <summary>cgroup.img; null if it is not there.</summary>
    public cgroup_entry? Cgroup { get; set; }

    /// <summary>True if the snapshot continues an older one ("parent").</summary>
    public bool HasParent { get; set; }

    /// <summary>True for a process of which only the exit status is left.</summary>
    public bool IsZombie(uint pid) =>
        Cores.TryGetValue(pid, out core_entry? core) && core.Tc?.TaskState == (uint)TaskState.Dead;

    /// <summary>Reads everything that the process tree leads to; throws at the first file that is missing or
    /// damaged. What it says about itself is checked by <see cref="SnapshotValidator"/>.</summary>
    public static SnapshotContents Load(SnapshotReader reader)
    {
        var contents = new SnapshotContents
        {
            Inventory = reader.ReadSingle<inventory_entry>(ImageKind.Inventory),
            Pstree = reader.ReadAll<pstree_entry>(ImageKind.Pstree),
            Files = reader.ReadAllIfPresent<file_entry>(ImageKind.Files),
            Remaps = reader.ReadAllIfPresent<remap_file_path_entry>(ImageKind.RemapFpath),
            TtyInfos = reader.ReadAllIfPresent<tty_info_entry>(ImageKind.TtyInfo),
            TtyData = reader.ReadAllIfPresent<tty_data_entry>(ImageKind.TtyData),
            Memfds = reader.ReadAllIfPresent<memfd_inode_entry>(ImageKind.Memfd),
            FileLocks = reader.ReadAllIfPresent<file_lock_entry>(ImageKind.FileLocks),
            Seccomp = ReadSingleIfPresent<seccomp_entry>(reader, ImageKind.Seccomp),
            Cgroup = ReadSingleIfPresent<cgroup_entry>(reader, ImageKind.Cgroup),
            HasParent = reader.HasParent(),
        };
        LoadQueues(reader, ImageKind.PipesData, pipe_data_entry.Parser, contents.PipesData, data => data.Bytes);
        LoadQueues(reader, ImageKind.FifoData, pipe_data_entry.Parser, contents.FifoData, data => data.Bytes);
        LoadQueues(reader, ImageKind.SkQueues, sk_packet_entry.Parser, contents.SocketQueues, data => data.Length);
        foreach (remap_file_path_entry remap in contents.Remaps)
        {
            uint ghost = remap.RemapId & 0x7FFF_FFFF;
            if (IsGhost(remap) && reader.LengthOf(ImageKind.GhostFile, ghost) >= 0) contents.GhostFiles.Add(ghost);
        }

        var spaces = new HashSet<uint>();
        var fsTables = new HashSet<uint>();
        foreach (pstree_entry process in contents.Pstree) contents.LoadProcess(reader, process, spaces, fsTables);
        foreach (memfd_inode_entry memfd in contents.Memfds) contents.LoadShared(reader, memfd.Shmid);
        contents.LoadSharedOfMappings(reader);
        return contents;
    }

    /// <summary>True if a remap stands for a deleted file with its contents in the snapshot.</summary>
    public static bool IsGhost(remap_file_path_entry remap) =>
        remap.HasRemapType ? remap.RemapType == remap_type.Ghost : (remap.RemapId & 0x8000_0000) != 0;

    private void LoadProcess(
        SnapshotReader reader, pstree_entry process, HashSet<uint> spaces, HashSet<uint> fsTables)
    {
        uint pid = process.Pid;
        LoadCore(reader, pid);
        if (IsZombie(pid)) return; // The peer writes nothing else of it, and noise as its thread ids.
        foreach (uint tid in process.Threads) LoadCore(reader, tid);
        var ids = reader.ReadSingle<task_kobj_ids_entry>(ImageKind.Ids, pid);
        Ids[pid] = ids;
        bool sharesSpace = !spaces.Add(ids.VmId);
        if (!sharesSpace || reader.LengthOf(ImageKind.Mm, pid) >= 0)
        {
            Mms[pid] = reader.ReadSingle<mm_entry>(ImageKind.Mm, pid);
            using ImageReader image = reader.Open(ImageKind.Pagemap, pid);
            Pagemaps[pid] = Pagemap.Read(image);
            LoadPagesLength(reader, Pagemaps[pid].Head.PagesId);
        }

        if (fsTables.Add(ids.FsId) || reader.LengthOf(ImageKind.Fs, pid) >= 0)
        {
            Fs[pid] = reader.ReadSingle<fs_entry>(ImageKind.Fs, pid);
        }

        if (Fdinfos.ContainsKey(ids.FilesId)) return;
        Fdinfos[ids.FilesId] = reader.ReadAll<fdinfo_entry>(ImageKind.Fdinfo, ids.FilesId);
    }

    private void LoadCore(SnapshotReader reader, uint tid)
    {
        if (!Cores.ContainsKey(tid)) Cores[tid] = reader.ReadSingle<core_entry>(ImageKind.Core, tid);
    }

    private void LoadSharedOfMappings(SnapshotReader reader)
    {
        foreach (mm_entry mm in Mms.Values)
        {
            foreach (vma_entry vma in mm.Vmas)
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
        LoadPagesLength(reader, map.Head.PagesId);
    }

    private void LoadPagesLength(SnapshotReader reader, uint pagesId)
    {
        long lengthBytes = reader.LengthOf(ImageKind.Pages, pagesId);
        if (lengthBytes >= 0) PagesFileBytes[pagesId] = lengthBytes;
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
