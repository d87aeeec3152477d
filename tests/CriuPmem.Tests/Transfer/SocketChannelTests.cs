using CriuPmem.Engine.Transfer;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Transfer;

/// <summary>An engine at the other end that is there, and neither says nor takes anything.</summary>
public sealed class SocketChannelTests
{
    private const int SOCK_STREAM = 1;

    [Fact]
    public void ReceiveSome_NothingComes_EndsWithItsPatience()
    {
        Assert.False(Sys.SocketPair(SOCK_STREAM, out int here, out int there).Failed);
        using var other = new OwnedFd(there);
        using var channel = new SocketChannel(here, "the page server at a test") { PatienceSeconds = 1 };
        CheckpointException failure = Assert.Throws<CheckpointException>(() => channel.ReceiveSome(new byte[1]));
        Assert.Equal(ErrorCode.TimedOut, failure.Code);
        Assert.Contains("the page server at a test has not answered for 1 s", failure.Message, StringComparison.Ordinal);
        Assert.NotNull(failure.Remedy);
    }

    [Fact]
    public void Send_NobodyTakesIt_EndsWithItsPatience()
    {
        Assert.False(Sys.SocketPair(SOCK_STREAM, out int here, out int there).Failed);
        using var other = new OwnedFd(there);
        using var channel = new SocketChannel(here, "the page server at a test") { PatienceSeconds = 1 };
        Assert.Equal(ErrorCode.TimedOut, Assert.Throws<CheckpointException>(() => channel.Send(new byte[16 << 20])).Code);
    }

    /// <summary>A slow one is not a silent one.</summary>
    [Fact]
    public void ReceiveSome_ByteByByte_GoesOn()
    {
        Assert.False(Sys.SocketPair(SOCK_STREAM, out int here, out int there).Failed);
        using var other = new OwnedFd(there);
        using var channel = new SocketChannel(here, "the page server at a test") { PatienceSeconds = 2 };
        var slow = new Thread(() =>
        {
            for (int i = 0; i < 5; i++)
            {
                Thread.Sleep(500);
                Sys.Send(there, [(byte)i], 0);
            }
        });
        slow.Start();
        var bytes = new byte[5];
        channel.Receive(bytes);
        slow.Join();
        Assert.Equal([0, 1, 2, 3, 4], bytes);
    }
}
