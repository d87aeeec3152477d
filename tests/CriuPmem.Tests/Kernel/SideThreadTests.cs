using CriuPmem.Kernel;

namespace CriuPmem.Tests.Kernel;

public sealed class SideThreadTests
{
    [Fact]
    public void Post_RunsInOrder_AndFinishWaits()
    {
        using var side = new SideThread(isActive: true);
        var done = new List<int>();
        for (int i = 0; i < 1000; i++)
        {
            int number = i;
            side.Post(() => done.Add(number));
        }

        side.Finish();
        Assert.Equal(Enumerable.Range(0, 1000), done);
        side.Post(() => done.Add(-1)); // it can go on afterwards
        side.Finish();
        Assert.Equal(-1, done[^1]);
    }

    [Fact]
    public void Failure_EndsTheWork_AndIsTold()
    {
        using var side = new SideThread(isActive: true);
        bool later = false;
        side.Post(() => throw new CheckpointException(ErrorCode.Internal, "first"));
        side.Post(() => later = true);
        Assert.Contains("first", Assert.Throws<CheckpointException>(side.Finish).Message, StringComparison.Ordinal);
        Assert.False(later);
    }

    [Fact]
    public void Dispose_DropsWhatHasNotBegun()
    {
        using var begun = new ManualResetEventSlim();
        using var goOn = new ManualResetEventSlim();
        int done = 0;
        var side = new SideThread(isActive: true);
        side.Post(() =>
        {
            begun.Set();
            goOn.Wait(TestContext.Current.CancellationToken);
            done++;
        });
        side.Post(() => done++);
        begun.Wait(TestContext.Current.CancellationToken);
        var ending = new Thread(side.Dispose);
        ending.Start();
        Thread.Sleep(50);
        goOn.Set();
        ending.Join();
        Assert.Equal(1, done);
    }

    [Fact]
    public void Ahead_WorksOnce_WhoeverComesFirst()
    {
        for (int round = 0; round < 200; round++)
        {
            int count = 0;
            var ahead = new Ahead<string>(() => $"{Interlocked.Increment(ref count)}");
            using var side = new SideThread(isActive: true);
            side.Post(ahead.Prepare);
            Assert.Equal("1", ahead.Value);
            side.Finish();
            Assert.Equal("1", ahead.Value);
            Assert.Equal(1, count);
        }
    }

    [Fact]
    public void Ahead_HandsOnItsFailure()
    {
        var ahead = new Ahead<string>(() => throw new CheckpointException(ErrorCode.Vanished, "gone"));
        ahead.Prepare();
        Assert.Throws<CheckpointException>(() => ahead.Value);
        Assert.Throws<CheckpointException>(() => ahead.Value);
    }

    /// <summary>A fault of our own, too: who waited for the value would wait for ever, and the tree stand still.</summary>
    [Fact]
    public void Ahead_AnyFault_EndsTheWait()
    {
        var ahead = new Ahead<string>(() => throw new FormatException("unexpected"));
        using var side = new SideThread(isActive: true);
        side.Post(ahead.Prepare);
        side.Finish();
        Assert.Throws<FormatException>(() => ahead.Value);
    }

    [Fact]
    public void Ahead_Dropped_DoesNothing()
    {
        bool worked = false;
        var ahead = new Ahead<string>(() =>
        {
            worked = true;
            return "";
        });
        ahead.Drop();
        ahead.Prepare();
        Assert.False(worked);
    }
}
