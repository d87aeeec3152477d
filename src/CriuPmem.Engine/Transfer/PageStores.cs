using CriuPmem.Engine.Memory;
using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>Chooses where the pages of a dump go.</summary>
internal static class PageStores
{
    // While it waits the tree may stand still. Long enough for a server whose disk takes in the last of many gigabytes.
    private const int PatienceSeconds = 120;

    /// <summary>Opens the store; nothing is written yet, but a page server that does not answer refuses the dump here.</summary>
    /// <param name="options">What the user asks for.</param>
    /// <param name="snapshot">The images in the making.</param>
    /// <param name="output">Their pages files.</param>
    /// <param name="isContinued">Another snapshot may continue this one, and will want to know what was sent.</param>
    public static IPageStore Open(DumpOptions options, SnapshotWriter snapshot, PagesOutput output, bool isContinued)
    {
        if (options.PageServer is not { } server) return new LocalPages(output);
        ByteChannel channel = Endpoint.Connect(server, "page server");
        channel.PatienceSeconds = PatienceSeconds;
        options.Log.Info("page-server", $"pages go to {channel.Peer}");
        return new ServerPages(channel, isContinued ? snapshot : null, options.FinalState == FinalState.Running ? options.Log : null);
    }
}
