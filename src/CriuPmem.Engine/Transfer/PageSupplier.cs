using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>One session in which another machine fetches pages, in any order, until it says that it has all.</summary>
/// <param name="channel">The connection.</param>
/// <param name="supply">The pages.</param>
internal sealed class PageSupplier(ByteChannel channel, IPageSupply supply)
{
    private const int MostBytes = 512 << 10;

    private readonly byte[] _buffer = GC.AllocateUninitializedArray<byte>(PageMessage.Size + MostBytes, pinned: true);

    /// <summary>Pages sent.</summary>
    public long Pages { get; private set; }

    /// <summary>Serves; returns when the other side has all that it wants.</summary>
    /// <exception cref="CheckpointException">The connection is cut, or makes no sense.</exception>
    public void Run()
    {
        Span<byte> header = stackalloc byte[PageMessage.Size];
        while (true)
        {
            if (!channel.TryReceive(header)) throw channel.Cut(Errno.None);
            PageMessage message = PageMessage.Read(header);
            if (message.Command == PageCommand.Close) break;
            if (message.Command != PageCommand.Get || !message.IsSane) throw channel.Nonsense(message.ToString());
            Give(message);
        }

        channel.Send([0, 0, 0, 0]);
    }

    private void Give(PageMessage wanted)
    {
        ulong pages = supply.Available(wanted.Target, wanted.Address, wanted.Pages);
        if (pages == 0) throw channel.Nonsense($"a request for pages that are not here: {wanted}");
        new PageMessage(PageCommand.Add, PageFlags.Present, pages, wanted.Address, wanted.Target).Write(_buffer);
        int used = PageMessage.Size;
        if (channel.SendsHeadersAlone)
        {
            channel.Send(_buffer.AsSpan(0, used));
            used = 0;
        }

        for (ulong done = 0, all = pages * PageSize; done < all;)
        {
            int part = (int)Math.Min(all - done, MostBytes);
            supply.Read(wanted.Target, wanted.Address + done, _buffer.AsSpan(used, part));
            channel.Send(_buffer.AsSpan(0, used + part));
            done += (ulong)part;
            used = 0; // only the first part has the header in front
        }

        Pages += (long)pages;
    }
}
