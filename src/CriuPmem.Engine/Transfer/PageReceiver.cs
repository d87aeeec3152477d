using CriuPmem.Images;

namespace CriuPmem.Engine.Transfer;

/// <summary>One session of a page server: takes in what a dump sends, until that says that it was all.</summary>
/// <remarks>Nothing that comes in is trusted: every field is looked at before it counts, and names of files come from numbers alone.</remarks>
/// <param name="channel">The connection.</param>
/// <param name="directory">Where pages go.</param>
internal sealed class PageReceiver(ByteChannel channel, ReceivingDirectory directory)
{
    private readonly byte[] _buffer = GC.AllocateUninitializedArray<byte>(1 << 20);
    private ReceivedPages? _open;

    /// <summary>Takes everything in; returns when it is stored, and the other side knows.</summary>
    /// <exception cref="CheckpointException">The connection is cut, makes no sense, or there is no room: nothing is kept.</exception>
    public void Run()
    {
        Span<byte> header = stackalloc byte[PageMessage.Size];
        try
        {
            while (true)
            {
                if (!channel.TryReceive(header)) throw channel.Cut(Errno.None);
                PageMessage message = PageMessage.Read(header);
                if (message.Command == PageCommand.Close) break;
                Act(message);
            }
        }
        finally
        {
            _open?.Dispose();
            _open = null;
        }

        Keep();
        channel.Send([0, 0, 0, 0]);
    }

    private void Keep()
    {
        try
        {
            directory.Keep();
        }
        catch (CheckpointException failed)
        {
            Tell(-Math.Max(1, failed.ErrorNumber));
            throw;
        }
    }

    /// <summary>Lets the other side know that it failed, if that still listens.</summary>
    private void Tell(int answer)
    {
        try
        {
            channel.Send(BitConverter.GetBytes(answer));
        }
        catch (CheckpointException)
        {
            // The failure itself is what is told.
        }
    }

    private void Act(PageMessage message)
    {
        switch (message.Command)
        {
            case PageCommand.Open or PageCommand.OpenAndTell:
                Open(Target(message));
                if (message.Command == PageCommand.OpenAndTell) channel.Send([(byte)(_open!.Earlier is null ? 0 : 1)]);
                break;
            case PageCommand.AskParent:
                channel.Send([(byte)(directory.IsInParent(Target(message)) ? 1 : 0), 0, 0, 0]);
                break;
            case PageCommand.Add:
                Add(message);
                break;
            case PageCommand.AddPresent:
                Add(message with { Flags = PageFlags.Present });
                break;
            case PageCommand.AddHole:
                Add(message with { Flags = PageFlags.Parent });
                break;
            case PageCommand.Get:
                throw channel.Nonsense("it asks for pages of a server that takes pages in (page-server --lazy-pages serves them)");
            default:
                throw channel.Nonsense(message.ToString());
        }
    }

    private PageTarget Target(PageMessage message) =>
        PageTarget.TryDecode(message.Target, out PageTarget target) ? target : throw channel.Nonsense(message.ToString());

    private void Open(PageTarget target)
    {
        _open?.Dispose();
        _open = null;
        _open = directory.Open(target);
    }

    private void Add(PageMessage message)
    {
        PageTarget target = Target(message);
        const PageFlags lazy = PageFlags.Lazy, present = PageFlags.Present;
        if (!message.IsSane || message.Flags is not (PageFlags.Parent or present or lazy or (present | lazy))) throw channel.Nonsense(message.ToString());
        if (_open?.Target != target) Open(target); // older engines send pages without a word before
        if (message.Flags == PageFlags.Parent && !_open!.IsInParent(message.Address, message.End))
        {
            throw channel.Nonsense($"pages of {target.Kind.FileName(target.Id)} at 0x{message.Address:x} to be taken from an earlier snapshot, which has not all of them here");
        }

        if (!_open!.TryAdd(message)) throw channel.Nonsense($"pages of {target.Kind.FileName(target.Id)} at 0x{message.Address:x}, which are out of order");
        if (message.HasContents) TakeContents(message.LengthBytes);
    }

    private void TakeContents(ulong lengthBytes)
    {
        while (lengthBytes > 0)
        {
            int received = channel.ReceiveSome(_buffer.AsSpan(0, (int)Math.Min((ulong)_buffer.Length, lengthBytes)));
            if (received == 0) throw channel.Cut(Errno.None);
            _open!.Write(_buffer.AsSpan(0, received));
            lengthBytes -= (ulong)received;
        }
    }
}
