using FsCheck;
using FsCheck.Fluent;

namespace CriuPmem.SystemTests;

/// <summary>Random ways of saving and bringing back memory, one after the other, on a program that maps and writes at random.</summary>
public sealed class MemoryRoundsTests
{
    private const int Runs = 6;

    public enum Way
    {
        Frozen, Copy, Twins, Tracked, TrackedLive, Ended,
    }

    /// <summary>One dump, and what is done with it.</summary>
    /// <param name="Way">How it is made.</param>
    /// <param name="Compression">--compress, or empty.</param>
    /// <param name="Restored">The tree is ended and goes on from this snapshot (it always does when the dump ended it).</param>
    /// <param name="Lazy">The memory comes back while the tree runs.</param>
    public sealed record Step(Way Way, string Compression, bool Restored, bool Lazy);

    private static Gen<Step> Steps =>
        from way in Gen.Elements(Enum.GetValues<Way>())
        from compression in Gen.Elements("", "", "--compress=lz4", "--compress=zstd")
        from restored in Gen.Elements(true, false)
        from lazy in Gen.Elements(true, false)
        select new Step(way, compression, restored || way == Way.Ended, lazy);

    [Fact]
    public void AnyOrder_EveryByteIsWhatTheModelSays() => Prop.ForAll(
            Arb.From(Steps.ArrayOf(8)), Arb.From(Gen.Choose(1, int.MaxValue)), Run)
        .Check(Config.QuickThrowOnFailure.WithMaxTest(Runs).WithMaxRejected(0));

    private static void Run(Step[] steps, int seed)
    {
        using var live = new LiveWorkload("mem_churn", [], [Workload.Named("mem_churn").Executable, "48", $"{seed}"]);
        string? chain = null;
        for (int i = 0; i < steps.Length; i++)
        {
            string told = $"with seed {seed} after step {i + 1} of {string.Join(", ", steps.Take(i + 1))}";
            string images = live.NewImages($"images.{i}");
            live.Dump(Engine.Ours, images, [.. Options(steps[i], chain)]);
            if (steps[i].Way != Way.Ended)
                live.Check($"still running, {told}");
            chain = steps[i].Way is Way.Tracked or Way.TrackedLive ? Path.GetFileName(images) : chain;
            if (!steps[i].Restored)
                continue;
            List<int> tree = live.Processes();
            ProcessTable.Kill(live.Processes);
            ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "the program was killed");
            live.Restore(Engine.Ours, images, steps[i].Lazy ? ["--lazy"] : []);
            chain = null;
            live.Check(told);
            if (steps[i].Lazy)
                LazyPager.WaitDone(images);
        }

        live.Stop();
    }

    private static IEnumerable<string> Options(Step step, string? chain)
    {
        if (step.Way != Way.Ended)
            yield return "-R";
        if (step.Compression.Length != 0)
            yield return step.Compression;
        if (step.Way is Way.Tracked or Way.TrackedLive)
            yield return "--track-mem";
        if (step.Way is Way.Tracked or Way.TrackedLive or Way.Ended && chain is not null)
            yield return $"--prev-images-dir=../{chain}";
        if (step.Way == Way.Frozen)
            yield return "--no-live";
        if (step.Way is Way.Copy or Way.Twins or Way.TrackedLive)
            yield return "--live";
        if (step.Way is Way.Copy or Way.Twins)
            yield return $"--live-mode={(step.Way == Way.Copy ? "copy" : "twins")}";
    }
}
