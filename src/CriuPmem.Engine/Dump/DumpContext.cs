using CriuPmem.Engine.Memory;
using CriuPmem.Engine.Resources;
using CriuPmem.Images;

namespace CriuPmem.Engine.Dump;

/// <summary>What the parts of one dump share.</summary>
internal sealed class DumpContext : IDisposable
{
    private const int ManyThreads = 16; // from here on, a second thread gains more than it costs

    /// <summary>Creates the context of one dump.</summary>
    public DumpContext(DumpOptions options, FrozenTree tree, SnapshotWriter snapshot)
    {
        Side = new SideThread(tree.Processes.Sum(static process => process.Threads.Count) >= ManyThreads);
        Options = options;
        Tree = tree;
        Snapshot = snapshot;
        Files = new FileTable(this);
        Paths = new PathResolver(this);
        SharedMemory = new SharedMemory();
        MemoryFiles = new MemoryFileInodes(this);
        Deleted = new DeletedFiles(this);
        Sockets = new SocketTable(this);
        Terminals = new TerminalTable(this);
        Locks = new FileLocks(this);
        Pipes = new PipeQueue(this, ImageKind.PipesData);
        Fifos = new PipeQueue(this, ImageKind.FifoData);
        Handles = new FileHandles(this);
        External = new ExternalFiles(this);
        Multicast = new MulticastGroups();
    }

    /// <summary>Where work is done beside that of the tracing thread.</summary>
    public SideThread Side { get; }

    /// <summary>What the user asked for.</summary>
    public DumpOptions Options { get; }

    /// <summary>The tree.</summary>
    public FrozenTree Tree { get; }

    /// <summary>The images in the making.</summary>
    public SnapshotWriter Snapshot { get; }

    /// <summary>The open files.</summary>
    public FileTable Files { get; }

    /// <summary>How files are found again by their paths.</summary>
    public PathResolver Paths { get; }

    /// <summary>Contents of memory that has an inode of the kernel's own tmpfs.</summary>
    public SharedMemory SharedMemory { get; }

    /// <summary>The memory files (memfd_create(2)).</summary>
    public MemoryFileInodes MemoryFiles { get; }

    /// <summary>Files that no path leads to any more.</summary>
    public DeletedFiles Deleted { get; }

    /// <summary>UNIX sockets and their connections.</summary>
    public SocketTable Sockets { get; }

    /// <summary>The terminals.</summary>
    public TerminalTable Terminals { get; }

    /// <summary>Locks on files.</summary>
    public FileLocks Locks { get; }

    /// <summary>The pipes and their contents.</summary>
    public PipeQueue Pipes { get; }

    /// <summary>The FIFOs and their contents.</summary>
    public PipeQueue Fifos { get; }

    /// <summary>How inodes are found that are known by their handles.</summary>
    public FileHandles Handles { get; }

    /// <summary>What is left outside (--external).</summary>
    public ExternalFiles External { get; }

    /// <summary>Who has joined which multicast group.</summary>
    public MulticastGroups Multicast { get; }

    /// <summary>Where the dump tells what it does.</summary>
    public EngineLog Log => Options.Log;

    /// <summary>Work for the time when every descriptor of every process is known; it may still refuse.</summary>
    public List<Action> WhenFilesAreKnown { get; } = [];

    /// <summary>Work for the time when nothing can refuse the dump any more: contents of pipes, queues, deleted files.</summary>
    public List<Action> Contents { get; } = [];

    /// <inheritdoc />
    public void Dispose()
    {
        Files.Dispose();
        Terminals.Dispose();
    }
}
