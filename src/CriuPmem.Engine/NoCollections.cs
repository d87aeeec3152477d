using System.Runtime;

namespace CriuPmem.Engine;

/// <summary>While it lives the garbage collector stays away: nobody shall stand still for it.</summary>
/// <remarks>
/// The memory is reserved beforehand, and only what is used becomes real. A tree that takes more than that (some tens of
/// thousands of descriptors or mappings) ends it, and collections come as usual.
/// </remarks>
internal sealed class NoCollections : IDisposable
{
    private const long BudgetBytes = 48 << 20;

    /// <summary>Begins.</summary>
    public NoCollections()
    {
        try
        {
            GC.TryStartNoGCRegion(BudgetBytes, disallowFullBlockingGC: true);
        }
        catch (Exception refused) when (refused is ArgumentOutOfRangeException or InvalidOperationException)
        {
            // Little memory, or one within another: collections are allowed then.
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        if (GCSettings.LatencyMode == GCLatencyMode.NoGCRegion) GC.EndNoGCRegion();
    }
}
