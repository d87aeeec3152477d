using System.Runtime.InteropServices;
using CriuPmem.Engine.Transfer;
using CriuPmem.Images;

namespace CriuPmem.Engine.Lazy;

/// <summary>Pages that are fetched from the machine where the program was (lazy-pages --page-server).</summary>
/// <remarks>Of a <see cref="PagerRun"/> the file is the process's number there, and the place the address there.</remarks>
/// <param name="channel">The connection.</param>
internal sealed unsafe class PagerServer(ByteChannel channel) : IPagerSource, IDisposable
{
    // One answer at a time: a page that somebody waits for must not stand behind megabytes that nobody waits for.
    private const ulong MostBytes = 256 << 10;

    private readonly byte* _buffer = (byte*)NativeMemory.AlignedAlloc((nuint)MostBytes, 4096);

    /// <inheritdoc />
    public ulong StepBytes => MostBytes;

    /// <inheritdoc />
    public ulong FaultBytes => 64 << 10;

    /// <inheritdoc />
    public bool Fill(PagerSpace space, PagerRun pages, bool stopAtFilled, out ulong done)
    {
        ulong bytes = Fetch(pages.File, pages.Offset, Math.Min(pages.LengthBytes, MostBytes));
        return PagerCopy.Copy(space, pages.Start, (ulong)_buffer, bytes, stopAtFilled, out done);
    }

    /// <summary>The other side has ended the connection, or it is cut.</summary>
    public bool IsGone => channel.IsEnded;

    /// <summary>What is said of that while nobody has asked for a page yet.</summary>
    public CheckpointException Lost() => new(ErrorCode.ConnectionLost, $"{channel.Peer} ended the connection before a restore came: the memory is not to be had any more")
    {
        Remedy = "A dump with --lazy-pages that is ended lets its program go on: begin with a new dump.",
    };

    /// <summary>Lets the other side know that all has been fetched.</summary>
    public void Finish()
    {
        Span<byte> header = stackalloc byte[PageMessage.Size];
        new PageMessage(PageCommand.Close, PageFlags.None, 0, 0, 0).Write(header);
        channel.Send(header);
        Span<byte> answer = stackalloc byte[sizeof(int)];
        if (channel.TryReceive(answer) && BitConverter.ToInt32(answer) == 0) return;
        throw new CheckpointException(ErrorCode.OtherSideFailed, $"{channel.Peer} does not confirm that all memory was fetched") { Remedy = "What it reports, and its log, tell why." };
    }

    /// <inheritdoc />
    public void Dispose()
    {
        channel.Dispose();
        NativeMemory.AlignedFree(_buffer);
    }

    private ulong Fetch(ulong target, ulong address, ulong bytes)
    {
        Span<byte> header = stackalloc byte[PageMessage.Size];
        new PageMessage(PageCommand.Get, PageFlags.None, bytes / PageSize, address, target).Write(header);
        channel.Send(header);
        channel.Receive(header);
        PageMessage answer = PageMessage.Read(header);
        if (answer.Command != PageCommand.Add || !answer.HasContents || answer.Target != target || answer.Address != address || answer.Pages == 0 || answer.Pages > bytes / PageSize)
        {
            throw channel.Nonsense($"{answer} as the answer to a request for {bytes / PageSize} pages at 0x{address:x} of process {target}");
        }

        channel.Receive(new Span<byte>(_buffer, (int)answer.LengthBytes));
        return answer.LengthBytes;
    }
}
