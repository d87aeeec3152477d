using CriuPmem.Engine.Transfer;

namespace CriuPmem.Engine.Lazy;

/// <summary>How a lazy-pages daemon works (criu(8), lazy-pages).</summary>
public sealed class LazyPagesOptions : CommonOptions
{
    /// <summary>Where the pages are fetched from; null when they lie in the images directory (--page-server).</summary>
    public RemoteOptions? PageServer { get; set; }

    /// <summary>Called when it is ready to serve, once; false refuses.</summary>
    public Func<bool> OnReady { get; set; } = static () => true;
}
