using CriuPmem.Engine.Transfer;
using CriuPmem.Images;

namespace CriuPmem.Engine;

/// <summary>What to dump, and how.</summary>
public sealed class DumpOptions : CommonOptions
{
    /// <summary>Called every other second, by any thread, with how far something has come that takes long.</summary>
    public Action<string> OnProgress { get; set; } = static _ => { };

    /// <summary>The root of the tree (--tree).</summary>
    public int Pid { get; set; }

    /// <summary>What becomes of the tree afterwards.</summary>
    public FinalState FinalState { get; set; } = FinalState.Killed;

    /// <summary>Deleted files up to this size are saved, in bytes (--ghost-limit).</summary>
    public long GhostLimitBytes { get; set; } = 1 << 20;

    /// <summary>Tell written pages from now on, for the next snapshot of a chain (--track-mem).</summary>
    public bool TrackMemory { get; set; }

    /// <summary>The snapshot that this one continues, as a path from the images directory; null when it stands alone (--prev-images-dir).</summary>
    public string? PreviousImages { get; set; }

    /// <summary>Copy memory while the tree runs (--live, --no-live); null where that is worthwhile.</summary>
    public bool? Live { get; set; }

    /// <summary>How (--live-mode); giving one asks for it.</summary>
    public LiveMode LiveMode { get; set; }

    /// <summary>Compress the saved pages (--compress); null leaves them as they are.</summary>
    public PageCompression? Compression { get; set; }

    /// <summary>Store pages that fork relatives have in common once (--dedup-pages).</summary>
    public bool DedupPages { get; set; }

    /// <summary>Where the images are sent to when they are complete, before the tree is ended (--stream); -1 for nowhere.</summary>
    public int StreamFd { get; set; } = -1;

    /// <summary>Somebody acts at the hooks, and may count on the tree standing still at post-dump.</summary>
    public bool HasHooks { get; set; }

    /// <summary>Free the pages of earlier snapshots that are saved anew (--auto-dedup).</summary>
    public bool AutoDedup { get; set; }

    /// <summary>Send pages to the page server there, instead of writing them; null to write them (--page-server).</summary>
    public RemoteOptions? PageServer { get; set; }

    /// <summary>Leave memory that may come later in the processes, and serve it there until it has been fetched; null to save it (--lazy-pages).</summary>
    public RemoteOptions? Lazy { get; set; }

    /// <summary>Called when the pages of a dump with <see cref="Lazy"/> can be fetched; false refuses.</summary>
    public Func<bool> OnReady { get; set; } = static () => true;

    /// <summary>Datagram sockets may be connected to UNIX sockets outside of the tree (--ext-unix-sk).</summary>
    public bool ExternalUnixSockets { get; set; }

    /// <summary>Keep the pages files of the snapshot that is replaced, to write the next ones into them (--recycle): twice the room.</summary>
    public bool Recycle { get; set; }

    /// <summary>Sync images to the medium before success is reported (on by default).</summary>
    public bool Sync { get; set; } = true;
}
