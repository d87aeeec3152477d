namespace CriuPmem.Engine.Transfer;

/// <summary>How a page server works (criu(8), page-server).</summary>
public sealed class PageServerOptions : CommonOptions
{
    /// <summary>Where it listens, or the connection that it is given.</summary>
    public RemoteOptions Remote { get; } = new();

    /// <summary>The snapshot that the received one continues, as a path from the images directory; null when it stands alone (--prev-images-dir).</summary>
    public string? PreviousImages { get; set; }

    /// <summary>Free the pages of earlier snapshots that arrive anew (--auto-dedup).</summary>
    public bool AutoDedup { get; set; }

    /// <summary>Sync what arrived to the medium before success is reported (on by default).</summary>
    public bool Sync { get; set; } = true;

    /// <summary>Serve the pages of the snapshot in the directory to a lazy-pages daemon, instead of receiving any (--lazy-pages).</summary>
    public bool Serve { get; set; }

    /// <summary>Called when it is ready to serve, once; false refuses.</summary>
    public Func<bool> OnReady { get; set; } = static () => true;
}
