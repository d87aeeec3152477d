// The table of image kinds. Magic numbers are those of the field's format (docs/images.md).
namespace CriuPmem.Images;

internal sealed partial class ImageKind
{
    // In this file and first, since static fields are set in the order of one file's text.
    private static readonly List<ImageKind> Kinds = [];

    /// <summary>What the snapshot is; written last, so that its presence means a complete set.</summary>
    public static ImageKind Inventory { get; } =
        new("INVENTORY", "inventory.img", 0x58313116, ImageFraming.Inventory, "InventoryEntry");

    /// <summary>The processes, parents before children.</summary>
    public static ImageKind Pstree { get; } =
        new("PSTREE", "pstree.img", 0x50273030, ImageFraming.Common, "PstreeEntry");

    /// <summary>One thread: registers and per-task state; the leader's also holds the process's.</summary>
    public static ImageKind Core { get; } =
        new("CORE", "core-<tid>.img", 0x55053847, ImageFraming.Common, "CoreEntry");

    /// <summary>Which tables and namespaces a process shares.</summary>
    public static ImageKind Ids { get; } =
        new("IDS", "ids-<pid>.img", 0x54432030, ImageFraming.Common, "TaskKobjIdsEntry");

    /// <summary>An address space: its bounds and mappings.</summary>
    public static ImageKind Mm { get; } =
        new("MM", "mm-<pid>.img", 0x57492820, ImageFraming.Common, "MmEntry");

    /// <summary>Which pages of a process are in pages-N.img.</summary>
    public static ImageKind Pagemap { get; } =
        new("PAGEMAP", "pagemap-<pid>.img", 0x56084025, ImageFraming.Common, "PagemapHead", "PagemapEntry");

    /// <summary>Which pages of a shared segment are in pages-N.img.</summary>
    public static ImageKind PagemapShmem { get; } =
        new("PAGEMAP", "pagemap-shmem-<id>.img", 0x56084025, ImageFraming.Common, "PagemapHead", "PagemapEntry");

    /// <summary>Which pages of a process a page server got; nothing but the next snapshot of a chain reads it.</summary>
    public static ImageKind SentPagemap { get; } =
        new("PAGEMAP", "sent-<pid>.img", 0x56084025, ImageFraming.Common, "PagemapHead", "PagemapEntry");

    /// <summary>Page contents, nothing else.</summary>
    public static ImageKind Pages { get; } =
        new("PAGES", "pages-<id>.img", 0, ImageFraming.Raw, null);

    /// <summary>Page contents, compressed (<see cref="CompressedPagesFormat"/>): our own.</summary>
    public static ImageKind CompressedPages { get; } =
        new("CPAGES", "cpages-<id>.img", 0, ImageFraming.Raw, null);

    /// <summary>What was touched first at an earlier restore (<see cref="HotPagesFile"/>): our own, and advice only.</summary>
    public static ImageKind HotPages { get; } =
        new("HOTPAGES", "hot-pages.img", 0, ImageFraming.Raw, null);

    /// <summary>One descriptor table.</summary>
    public static ImageKind Fdinfo { get; } =
        new("FDINFO", "fdinfo-<id>.img", 0x56213732, ImageFraming.Common, "FdinfoEntry");

    /// <summary>All open file descriptions.</summary>
    public static ImageKind Files { get; } =
        new("FILES", "files.img", 0x56303138, ImageFraming.Common, "FileEntry");

    /// <summary>Working directory, root and umask.</summary>
    public static ImageKind Fs { get; } =
        new("FS", "fs-<pid>.img", 0x51403912, ImageFraming.Common, "FsEntry");

    /// <summary>Unread contents of pipes.</summary>
    public static ImageKind PipesData { get; } =
        new("PIPES_DATA", "pipes-data.img", 0x56453709, ImageFraming.Common, "PipeDataEntry",
            blob: BlobAfter.PipeData);

    /// <summary>Unread contents of FIFOs.</summary>
    public static ImageKind FifoData { get; } =
        new("FIFO_DATA", "fifo-data.img", 0x59333054, ImageFraming.Common, "PipeDataEntry",
            blob: BlobAfter.PipeData);

    /// <summary>Unread packets of UNIX sockets.</summary>
    public static ImageKind SkQueues { get; } =
        new("SK_QUEUES", "sk-queues.img", 0x56264026, ImageFraming.Common, "SkPacketEntry",
            blob: BlobAfter.Packet);

    /// <summary>An established TCP connection; the id is the socket's inode.</summary>
    public static ImageKind TcpStream { get; } =
        new("TCP_STREAM", "tcp-stream-<x>.img", 0x51465506, ImageFraming.Common, "TcpStreamEntry",
            blob: BlobAfter.TcpQueues);

    /// <summary>What stands in for files whose names are gone.</summary>
    public static ImageKind RemapFpath { get; } =
        new("REMAP_FPATH", "remap-fpath.img", 0x59133954, ImageFraming.Common, "RemapFilePathEntry");

    /// <summary>A deleted file with its contents.</summary>
    public static ImageKind GhostFile { get; } =
        new("GHOST_FILE", "ghost-file-<x>.img", 0x52583605, ImageFraming.Common, "GhostFileEntry",
            "GhostChunkEntry", BlobAfter.Ghost);

    /// <summary>Terminals and their settings.</summary>
    public static ImageKind TtyInfo { get; } =
        new("TTY_INFO", "tty-info.img", 0x59453036, ImageFraming.Common, "TtyInfoEntry");

    /// <summary>Unread bytes of pseudoterminals.</summary>
    public static ImageKind TtyData { get; } =
        new("TTY_DATA", "tty-data.img", 0x59413026, ImageFraming.Common, "TtyDataEntry");

    /// <summary>File locks and leases.</summary>
    public static ImageKind FileLocks { get; } =
        new("FILE_LOCKS", "filelocks.img", 0x54323616, ImageFraming.Common, "FileLockEntry");

    /// <summary>Memory files; their contents are shared segments.</summary>
    public static ImageKind Memfd { get; } =
        new("MEMFD_INODE", "memfd.img", 0x48453499, ImageFraming.Common, "MemfdInodeEntry");

    /// <summary>System call filters.</summary>
    public static ImageKind Seccomp { get; } =
        new("SECCOMP", "seccomp.img", 0x64413049, ImageFraming.Common, "SeccompEntry");

    /// <summary>Control groups and their properties.</summary>
    public static ImageKind Cgroup { get; } =
        new("CGROUP", "cgroup.img", 0x59383330, ImageFraming.Common, "CgroupEntry");

    /// <summary>Features of the processor that the snapshot was made on.</summary>
    public static ImageKind Cpuinfo { get; } =
        new("CPUINFO", "cpuinfo.img", 0x61404013, ImageFraming.Common, "CpuinfoEntry");

    /// <summary>AppArmor policies.</summary>
    public static ImageKind Apparmor { get; } =
        new("APPARMOR", "apparmor.img", 0x59423047, ImageFraming.Common, "ApparmorEntry");

    /// <summary>SysV shared memory segments.</summary>
    public static ImageKind IpcShm { get; } =
        new("IPCNS_SHM", "ipcns-shm-<id>.img", 0x46283044, ImageFraming.Common, "IpcShmEntry",
            blob: BlobAfter.SysvShm);

    /// <summary>SysV semaphore sets.</summary>
    public static ImageKind IpcSem { get; } =
        new("IPCNS_SEM", "ipcns-sem-<id>.img", 0x59573019, ImageFraming.Common, "IpcSemEntry",
            blob: BlobAfter.SysvSem);

    /// <summary>SysV message queues.</summary>
    public static ImageKind IpcMsg { get; } =
        new("IPCNS_MSG", "ipcns-msg-<id>.img", 0x55453737, ImageFraming.Common, "IpcMsgEntry",
            blob: BlobAfter.SysvMsg);

    /// <summary>Settings of an IPC namespace.</summary>
    public static ImageKind IpcVar { get; } =
        new("IPC_VAR", "ipcns-var-<id>.img", 0x53115007, ImageFraming.Common, "IpcVarEntry");

    /// <summary>A UTS namespace: host and domain name.</summary>
    public static ImageKind UtsNs { get; } =
        new("UTSNS", "utsns-<id>.img", 0x54473203, ImageFraming.Common, "UtsnsEntry");

    /// <summary>A time namespace: its clocks at the moment of the dump.</summary>
    public static ImageKind TimeNs { get; } =
        new("TIMENS", "timens-<id>.img", 0x43114433, ImageFraming.Common, "TimensEntry");

    /// <summary>A pid namespace.</summary>
    public static ImageKind PidNs { get; } =
        new("PIDNS", "pidns-<id>.img", 0x61157326, ImageFraming.Common, "PidnsEntry");

    /// <summary>A user namespace: its id maps.</summary>
    public static ImageKind UserNs { get; } =
        new("USERNS", "userns-<id>.img", 0x55474906, ImageFraming.Common, "UsernsEntry");

    /// <summary>The mounts of a mount namespace.</summary>
    public static ImageKind MountPoints { get; } =
        new("MNTS", "mountpoints-<id>.img", 0x55563928, ImageFraming.Common, "MntEntry");

    /// <summary>A network namespace: its settings.</summary>
    public static ImageKind NetNs { get; } =
        new("NETNS", "netns-<id>.img", 0x55933752, ImageFraming.Common, "NetnsEntry");

    /// <summary>The devices of a network namespace.</summary>
    public static ImageKind NetDev { get; } =
        new("NETDEV", "netdev-<id>.img", 0x57373951, ImageFraming.Common, "NetDeviceEntry");

    /// <summary>An autofs mount.</summary>
    public static ImageKind Autofs { get; } =
        new("AUTOFS", "autofs-<id>.img", 0x49353943, ImageFraming.Common, "AutofsEntry");

    /// <summary>Registered executable formats.</summary>
    public static ImageKind BinfmtMisc { get; } =
        new("BINFMT_MISC", "binfmt-misc.img", 0x67343323, ImageFraming.Common, "BinfmtMiscEntry");

    /// <summary>BPF maps.</summary>
    public static ImageKind BpfMapFile { get; } =
        new("BPFMAP_FILE", "bpfmap-file.img", 0x57506142, ImageFraming.Common, "BpfmapFileEntry");

    /// <summary>Contents of BPF maps.</summary>
    public static ImageKind BpfMapData { get; } =
        new("BPFMAP_DATA", "bpfmap-data.img", 0x64324033, ImageFraming.Common, "BpfmapDataEntry",
            blob: BlobAfter.BpfMap);

    /// <summary>Addresses, as ip addr save writes them.</summary>
    public static ImageKind IfAddr { get; } =
        new("IFADDR", "ifaddr-<id>.img", 0, ImageFraming.Raw, null);

    /// <summary>IPv4 routes, as ip route save writes them.</summary>
    public static ImageKind Route { get; } =
        new("ROUTE", "route-<id>.img", 0, ImageFraming.Raw, null);

    /// <summary>IPv6 routes, as ip -6 route save writes them.</summary>
    public static ImageKind Route6 { get; } =
        new("ROUTE6", "route6-<id>.img", 0, ImageFraming.Raw, null);

    /// <summary>Routing rules, as ip rule save writes them.</summary>
    public static ImageKind Rule { get; } =
        new("RULE", "rule-<id>.img", 0, ImageFraming.Raw, null);

    /// <summary>IPv4 packet filter, as iptables-save writes it.</summary>
    public static ImageKind IpTables { get; } =
        new("IPTABLES", "iptables-<id>.img", 0, ImageFraming.Raw, null);

    /// <summary>IPv6 packet filter, as ip6tables-save writes it.</summary>
    public static ImageKind Ip6Tables { get; } =
        new("IP6TABLES", "ip6tables-<id>.img", 0, ImageFraming.Raw, null);

    /// <summary>Packet filter, as nft lists it.</summary>
    public static ImageKind NfTables { get; } =
        new("NFTABLES", "nftables-<id>.img", 0, ImageFraming.Raw, null);

    /// <summary>Tracked connections.</summary>
    public static ImageKind NetNsConntrack { get; } =
        new("NETNS_CT", "netns-ct-<id>.img", 0, ImageFraming.Raw, null);

    /// <summary>Expected connections.</summary>
    public static ImageKind NetNsExpect { get; } =
        new("NETNS_EXP", "netns-exp-<id>.img", 0, ImageFraming.Raw, null);

    /// <summary>Contents of a tmpfs named by its device.</summary>
    public static ImageKind TmpfsDev { get; } =
        new("TMPFS_DEV", "tmpfs-dev-<id>.tar.gz.img", 0, ImageFraming.Raw, null);

    /// <summary>Contents of a tmpfs named by its mount.</summary>
    public static ImageKind Tmpfs { get; } =
        new("TMPFS", "tmpfs-<id>.tar.gz.img", 0, ImageFraming.Raw, null);

    /// <summary>What the dump took; in the work directory.</summary>
    public static ImageKind StatsDump { get; } =
        new("STATS", "stats-dump", 0x57093306, ImageFraming.Service, "StatsEntry");

    /// <summary>What the restore took; in the work directory.</summary>
    public static ImageKind StatsRestore { get; } =
        new("STATS", "stats-restore", 0x57093306, ImageFraming.Service, "StatsEntry");

    /// <summary>Paths of watched inodes that were found before.</summary>
    public static ImageKind IrmapCache { get; } =
        new("IRMAP_CACHE", "irmap-cache", 0x57004059, ImageFraming.Service, "IrmapCacheEntry");
}
