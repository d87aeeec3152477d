namespace CriuPmem.Engine.Transfer;

/// <summary>Pages of processes that another machine asks for.</summary>
internal interface IPageSupply
{
    /// <summary>How many pages from an address on can be given.</summary>
    /// <param name="pid">The process; any number.</param>
    /// <param name="address">The first page, a multiple of the page size.</param>
    /// <param name="most">No more than these, at least 1.</param>
    /// <returns>0 when the first is not there.</returns>
    ulong Available(ulong pid, ulong address, ulong most);

    /// <summary>Reads pages that are available.</summary>
    void Read(ulong pid, ulong address, Span<byte> to);
}
