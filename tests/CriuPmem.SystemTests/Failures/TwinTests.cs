namespace CriuPmem.SystemTests.Failures;

/// <summary>A program of which a live snapshot makes a twin, and others that may not or cannot be forked: none notices anything.</summary>
public sealed class TwinTests
{
    [Theory]
    [InlineData("", "forked")]
    [InlineData("subreaper", "orphans go to")]
    [InlineData("filter", "its system calls are filtered")]
    [InlineData("alone", "it cannot fork (EAGAIN)")]
    public void Dump_FromTwinsWhereItCan_ProgramNoticesNothing(string reason, string told)
    {
        using var live = new LiveWorkload(new Workload("mem_no_children", reason));
        live.Check("before anything");
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images, "-R", "--live-mode=twins");
        string log = File.ReadAllText(Path.Combine(images, "dump.log"));
        Assert.Contains(told, log, StringComparison.Ordinal);
        live.Check("after a dump that left it running");
        List<int> tree = live.Processes();
        ProcessTable.Kill(live.Processes);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "killed");
        live.Restore(Engine.Ours, images);
        live.Check("restored");
        live.Stop();
    }
}
