using CriuPmem.Images;

namespace CriuPmem.Engine.Dump;

/// <summary>What the parts of one dump share.</summary>
internal sealed class DumpContext : IDisposable
{
    /// <summary>Creates the context of one dump.</summary>
    public DumpContext(DumpOptions options, FrozenTree tree, SnapshotWriter snapshot)
    {
        Options = options;
        Tree = tree;
        Snapshot = snapshot;
        Files = new FileTable(this);
        Paths = new PathResolver(this);
        Deleted = new DeletedFiles(this);
        Sockets = new SocketTable(this);
    }

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

    /// <summary>Files that no path leads to any more.</summary>
    public DeletedFiles Deleted { get; }

    /// <summary>UNIX sockets and their connections.</summary>
    public SocketTable Sockets { get; }

    /// <summary>Questions that can be answered, and may refuse the dump, when all processes have been seen.</summary>
    public List<Action> Checks { get; } = [];

    /// <summary>Where the dump tells what it does.</summary>
    public EngineLog Log => Options.Log;

    /// <summary>Work for the time when nothing can refuse the dump any more: contents of pipes, queues, deleted files.</summary>
    public List<Action> Contents { get; } = [];

    /// <inheritdoc />
    public void Dispose() => Files.Dispose();
}
