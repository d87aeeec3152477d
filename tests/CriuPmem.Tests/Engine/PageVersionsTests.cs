using CriuPmem.Engine.Memory;
using CriuPmem.Images;

namespace CriuPmem.Tests.Engine;

public sealed class PageVersionsTests
{
    private const ulong Page = 4096;
    private const int Pages = 64;

    [Fact]
    public void Advance_RandomRounds_LikeAModelOfSinglePages()
    {
        for (int seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            var model = new ulong?[Pages]; // the offset of the copy that counts
            var runs = new List<SavedRun>();
            ulong offset = 0;
            for (int round = 0; round < 6; round++)
            {
                PageChanges changes = RandomRound(random, model, ref offset, out ulong begin);
                runs = PageVersions.Advance(runs, changes, begin);
                Assert.Equal(model, Spread(runs));
            }
        }
    }

    [Fact]
    public void Within_Ranges_KeepsTheirPartsWithTheirFlags()
    {
        var runs = new List<SavedRun> { new(0, 10 * Page, PageFlags.Present, 0, 100 * Page), new(20 * Page, 4 * Page, PageFlags.Present, 0, 200 * Page) };
        SavedRun[] parts = [.. PageVersions.Within(runs, [(2 * Page, 3 * Page, PageFlags.Lazy), (8 * Page, 22 * Page, PageFlags.Present)])];
        Assert.Equal(
            [
                new SavedRun(2 * Page, Page, PageFlags.Lazy, 0, 102 * Page),
                new SavedRun(8 * Page, 2 * Page, PageFlags.Present, 0, 108 * Page),
                new SavedRun(20 * Page, 2 * Page, PageFlags.Present, 0, 200 * Page),
            ],
            parts);
    }

    /// <summary>A round that replaces some runs of pages, and stores some of those.</summary>
    private static PageChanges RandomRound(Random random, ulong?[] model, ref ulong offset, out ulong begin)
    {
        begin = offset;
        var changes = new PageChanges();
        for (int at = random.Next(8); at < Pages;)
        {
            int end = Math.Min(Pages, at + random.Next(1, 9));
            changes.Replace((ulong)at * Page, (ulong)end * Page);
            for (int page = at; page < end; page++) model[page] = null;
            int from = random.Next(at, end + 1), to = random.Next(from, end + 1);
            if (from < to) changes.Stored.Add(new PageRun((ulong)from * Page, (ulong)to * Page, (uint)PageFlags.Present, false));
            for (int page = from; page < to; page++, offset += Page) model[page] = offset;
            at = end + random.Next(0, 8);
        }

        return changes;
    }

    private static ulong?[] Spread(List<SavedRun> runs)
    {
        var pages = new ulong?[Pages];
        ulong last = 0;
        foreach (SavedRun run in runs)
        {
            Assert.True(run.Start >= last, "runs must ascend and not overlap");
            last = run.Start + run.LengthBytes;
            for (ulong at = 0; at < run.LengthBytes; at += Page) pages[(run.Start + at) / Page] = run.Offset + at;
        }

        return pages;
    }
}
