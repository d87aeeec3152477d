using CriuPmem.Engine.Transfer;

namespace CriuPmem.Tests.Transfer;

/// <summary>A connection whose other side has said everything already; it comes in pieces of any length.</summary>
internal sealed class MemoryChannel(byte[] input, Random random) : ByteChannel("the other side")
{
    private int _at;

    public MemoryStream Output { get; } = new();

    public override bool IsEnded => _at == input.Length;

    public override int ReceiveSome(Span<byte> buffer)
    {
        int length = Math.Min(Math.Min(buffer.Length, input.Length - _at), random.Next(1, 6000));
        input.AsSpan(_at, length).CopyTo(buffer);
        _at += length;
        return length;
    }

    public override void Send(ReadOnlySpan<byte> bytes) => Output.Write(bytes);

    public override void Dispose()
    {
    }
}
