using CriuPmem.Engine.Lazy;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Kernel;
using CriuPmem.Tests.Images;

namespace CriuPmem.Tests.Engine;

public sealed class HotPagesTests
{
    private const ulong Block = 64 << 10;

    [Fact]
    public void Neighbours_AreOneRange_InTheOrderOfTheirFirstTime()
    {
        using ImagesDirectory images = Snapshot();
        HotPages hot = HotPages.Open(images.Fd, EngineLog.None);
        hot.Note(1, 10 * Block, 11 * Block);
        hot.Note(1, 11 * Block, 12 * Block);
        hot.Note(1, 9 * Block, 10 * Block);
        hot.Note(1, 10 * Block, 11 * Block); // known
        hot.Note(2, 12 * Block, 13 * Block); // another process
        hot.Note(0, 13 * Block, 14 * Block); // nobody
        hot.Note(1, 20 * Block + 4096, 21 * Block);
        hot.Save();
        Assert.Equal([new HotRange(1, 48, 9 * Block), new HotRange(2, 16, 12 * Block), new HotRange(1, 15, 20 * Block + 4096)], Ranges(images));
    }

    /// <summary>What a program waited for comes before what was known, where it was faster; nothing that was known is lost.</summary>
    [Fact]
    public void NextRestore_MovesForwardWhatWasLate()
    {
        using ImagesDirectory images = Snapshot();
        HotPages hot = HotPages.Open(images.Fd, EngineLog.None);
        foreach (ulong block in (ulong[])[30, 10, 20]) hot.Note(1, block * Block, (block + 1) * Block);
        hot.Save();
        hot = HotPages.Open(images.Fd, EngineLog.None);
        Assert.True(hot.TryPeek(out HotRange first));
        Assert.Equal(30 * Block, first.Start);
        Assert.False(hot.Advance());
        hot.Note(1, 20 * Block, 21 * Block); // late
        hot.Note(1, 50 * Block, 51 * Block); // new
        hot.Save();
        Assert.Equal((ulong[])[30, 20, 50, 10], Ranges(images).Select(static range => range.Start / Block));
    }

    [Fact]
    public void Size_IsBounded()
    {
        using ImagesDirectory images = Snapshot();
        HotPages hot = HotPages.Open(images.Fd, EngineLog.None);
        for (ulong block = 0; block < 100_000; block += 2) hot.Note(1, block * Block, (block + 1) * Block);
        hot.Save();
        Assert.Equal(HotPagesFile.MaxEntries, Ranges(images).Length);
        Assert.True(new FileInfo(images["hot-pages.img"]).Length <= 65 << 10);
    }

    [Fact]
    public void NothingTouched_NothingIsWritten()
    {
        using ImagesDirectory images = Snapshot();
        HotPages.Open(images.Fd, EngineLog.None).Save();
        Assert.Equal(["inventory.img"], images.Names());
    }

    private static HotRange[] Ranges(ImagesDirectory images) => HotPagesFile.Read(images.Fd, HotPagesFile.SnapshotOf(images.Fd), out _);

    private static ImagesDirectory Snapshot()
    {
        var images = new ImagesDirectory();
        SnapshotWriter writer = images.Writer;
        writer.Commit(new InventoryEntry { ImgVersion = 2 }, sync: false);
        writer.Keep()();
        return images;
    }
}
