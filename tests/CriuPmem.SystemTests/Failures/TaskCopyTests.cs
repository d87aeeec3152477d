namespace CriuPmem.SystemTests.Failures;

/// <summary>A program that copies its own memory for a dump, and others that may not or cannot: none notices anything.</summary>
public sealed class TaskCopyTests
{
    private const int Kills = 20;
    private const string ByItself = "MiB copied by the process itself";

    [Theory]
    [InlineData("", true)]
    [InlineData("filter", false)]
    [InlineData("descriptors", false)]
    [InlineData("space", false)]
    public void Dump_ByTheProcessWhereItCan_ProgramNoticesNothing(string reason, bool byItself)
    {
        using var live = new LiveWorkload(new Workload("mem_large", reason));
        live.Check("before anything");
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images, "-R", "--no-live");
        Assert.Equal(byItself, File.ReadAllText(Path.Combine(images, "dump.log")).Contains(ByItself, StringComparison.Ordinal));
        live.Check("after a dump that left it running");
        List<int> tree = live.Processes();
        ProcessTable.Kill(live.Processes);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "killed");
        live.Restore(Engine.Ours, images);
        live.Check("restored");
        live.Stop();
    }

    /// <summary>While it copies the engine is killed: it goes on, and nothing is left in it.</summary>
    [Fact]
    public void EngineKilled_ProgramGoesOn() => Seed.Run(random =>
    {
        using var live = new LiveWorkload(Workload.Named("mem_large"));
        TimeSpan whole = EngineRun.Time(() => live.Dump(Engine.Ours, live.NewImages("images"), "-R", "--no-live"));
        live.Check("after a dump that was not killed");
        int inTime = 0;
        for (int kill = 1; kill <= Kills; kill++)
        {
            string images = live.NewImages($"images.{kill}");
            TimeSpan after = whole * (0.1 + 0.8 * random.NextDouble());
            int? exit = EngineRun.Kill(after, ["dump", "-t", $"{live.Pid}", "-D", images, "-R", "--no-live"]);
            inTime += exit is null ? 1 : 0;
            live.Check($"killed after {after.TotalMilliseconds:0.0} ms");
            Machine.Delete(images);
        }

        Assert.True(inTime > Kills / 4, $"only {inTime} of {Kills} kills came before the end");
        live.Stop();
    });
}
