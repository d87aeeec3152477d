using CriuPmem.Engine.Lazy;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Transfer;

/// <summary>What comes over lazy-pages.socket is taken for a process only when it is one.</summary>
public sealed class RestoreControlTests
{
    private const int SOCK_STREAM = 1;

    [Fact]
    public void Read_DescriptorThatIsNoUserfaultfd_IsRefused()
    {
        Assert.False(Sys.SocketPair(SOCK_STREAM, out int here, out int there).Failed);
        using var other = new OwnedFd(there);
        using var control = new RestoreControl(here, _ => [], EngineLog.None);
        using var file = new OwnedFd((int)Sys.MemfdCreate("no-userfaultfd", 1).OrThrow("memfd_create", "a test"));
        Assert.False(LazyPagesSocket.Send(there, 4711).Failed);
        Assert.False(LazyPagesSocket.SendDescriptor(there, 4711, file.Fd).Failed);
        CheckpointException failure = Assert.Throws<CheckpointException>(() => control.Read(Pager(control)));
        Assert.Equal(ErrorCode.WrongData, failure.Code);
        Assert.Contains("4711", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_LastWord_EndsIt()
    {
        Assert.False(Sys.SocketPair(SOCK_STREAM, out int here, out int there).Failed);
        using var other = new OwnedFd(there);
        using var control = new RestoreControl(here, _ => [], EngineLog.None);
        Assert.False(control.MayStream);
        Sys.Send(there, "FTSR"u8, 0); // as it was seen on the peer's socket
        control.Read(Pager(control));
        Assert.True(control.MayStream);
        Assert.Equal(-1, control.Fd);
    }

    [Fact]
    public void Read_AnyBytes_AreRefused()
    {
        for (int seed = 1; seed <= 500; seed++)
        {
            var random = new Random(seed);
            var bytes = new byte[random.Next(0, 40)];
            random.NextBytes(bytes);
            Assert.False(Sys.SocketPair(SOCK_STREAM, out int here, out int there).Failed);
            using var control = new RestoreControl(here, _ => [], EngineLog.None);
            if (bytes.Length > 0) Sys.Send(there, bytes, 0);
            Sys.Close(there);
            CheckpointException failure = Assert.Throws<CheckpointException>(() =>
            {
                while (control.Fd >= 0) control.Read(Pager(control));
            });
            Assert.True(failure.Code is ErrorCode.WrongData or ErrorCode.ConnectionLost, $"seed {seed}: {failure.Message}");
        }
    }

    private static Pager Pager(RestoreControl control) => new(new PagerFiles(), control, HotPages.Open(-1, EngineLog.None), EngineLog.None);
}
