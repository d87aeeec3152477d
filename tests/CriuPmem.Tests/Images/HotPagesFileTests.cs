using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Images;

/// <summary>hot-pages.img is advice from outside: it is heeded as it was written and for its own snapshot, or not at all.</summary>
public sealed class HotPagesFileTests
{
    private static readonly HotRange[] s_ranges = [new(7, 3, 0x7000), new(7, 1, 0x1000), new(8, 16, 0x7FFF_0000_0000)];

    [Fact]
    public void Written_IsRead()
    {
        using ImagesDirectory images = Snapshot(1);
        ulong snapshot = HotPagesFile.SnapshotOf(images.Fd);
        Assert.Equal(0, HotPagesFile.Write(images.Fd, snapshot, s_ranges).Raw);
        Assert.Equal(s_ranges, HotPagesFile.Read(images.Fd, snapshot, out string? cause));
        Assert.Null(cause);
        Assert.Equal(0, HotPagesFile.Write(images.Fd, snapshot, s_ranges.AsSpan(0, 1)).Raw);
        Assert.Equal(s_ranges[..1], HotPagesFile.Read(images.Fd, snapshot, out _));
        Assert.Equal(["hot-pages.img", "inventory.img"], images.Names());
    }

    [Fact]
    public void None_IsNoFault()
    {
        using ImagesDirectory images = Snapshot(1);
        Assert.Empty(HotPagesFile.Read(images.Fd, HotPagesFile.SnapshotOf(images.Fd), out string? cause));
        Assert.Null(cause);
    }

    [Fact]
    public void OfAnotherSnapshot_IsNotHeeded()
    {
        using ImagesDirectory images = Snapshot(1), newer = Snapshot(2);
        HotPagesFile.Write(images.Fd, HotPagesFile.SnapshotOf(images.Fd), s_ranges);
        File.Copy(images["hot-pages.img"], newer["hot-pages.img"]);
        Assert.Empty(HotPagesFile.Read(newer.Fd, HotPagesFile.SnapshotOf(newer.Fd), out string? cause));
        Assert.Contains("another snapshot", cause, StringComparison.Ordinal);
    }

    /// <summary>The snapshot was replaced, or removed, while the pager worked: nothing is written.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void SnapshotGone_NothingIsWritten(bool replaced)
    {
        using ImagesDirectory images = Snapshot(1);
        ulong snapshot = HotPagesFile.SnapshotOf(images.Fd);
        if (replaced) Write(images, 2);
        else Directory.Delete(images.Path, recursive: true);
        Assert.Equal(Errno.ESTALE, HotPagesFile.Write(images.Fd, snapshot, s_ranges).Errno);
        if (replaced) Assert.Equal(["inventory.img"], images.Names());
        else Directory.CreateDirectory(images.Path);
    }

    /// <summary>A dump into the same directory takes the file away with the snapshot that it belongs to.</summary>
    [Fact]
    public void NewSnapshot_TakesItAway()
    {
        using ImagesDirectory images = Snapshot(1);
        HotPagesFile.Write(images.Fd, HotPagesFile.SnapshotOf(images.Fd), s_ranges);
        SnapshotWriter writer = images.Writer;
        writer.Begin(sync: false);
        Assert.Contains("hot-pages.img", images.Names());
        writer.Commit(new InventoryEntry { ImgVersion = 2 }, sync: false);
        writer.Keep()();
        Assert.Equal(["inventory.img"], images.Names());
        Assert.Empty(Directory.GetDirectories(images.Path));
    }

    [Fact]
    public void FlippedBitOrCutFile_IsNotHeeded()
    {
        using ImagesDirectory images = Snapshot(1);
        ulong snapshot = HotPagesFile.SnapshotOf(images.Fd);
        HotPagesFile.Write(images.Fd, snapshot, s_ranges);
        byte[] whole = File.ReadAllBytes(images["hot-pages.img"]);
        for (int bit = 0; bit < whole.Length * 8; bit++)
        {
            byte[] flipped = [.. whole];
            flipped[bit / 8] ^= (byte)(1 << (bit % 8));
            Expect(flipped);
        }

        for (int length = 0; length < whole.Length; length++) Expect(whole[..length]);
        Expect([.. whole, 0]);
        Expect(new byte[1 << 20]);

        void Expect(byte[] file)
        {
            File.WriteAllBytes(images["hot-pages.img"], file);
            Assert.Empty(HotPagesFile.Read(images.Fd, snapshot, out string? cause));
            Assert.NotNull(cause);
        }
    }

    /// <summary>Addresses of which the pager could make nothing, in a file whose checksum is right.</summary>
    [Theory]
    [InlineData(1, 0x1001)]
    [InlineData(0, 0x1000)]
    [InlineData(2, 0xFFFF_FFFF_FFFF_F000)]
    public void ImpossibleEntry_IsNotHeeded(uint pages, ulong start)
    {
        using ImagesDirectory images = Snapshot(1);
        ulong snapshot = HotPagesFile.SnapshotOf(images.Fd);
        HotPagesFile.Write(images.Fd, snapshot, [new HotRange(1, pages, start)]);
        Assert.Empty(HotPagesFile.Read(images.Fd, snapshot, out string? cause));
        Assert.NotNull(cause);
    }

    [Fact]
    public void NoFile_ButADirectory_IsNotHeeded()
    {
        using ImagesDirectory images = Snapshot(1);
        Directory.CreateDirectory(images["hot-pages.img"]);
        ulong snapshot = HotPagesFile.SnapshotOf(images.Fd);
        Assert.Empty(HotPagesFile.Read(images.Fd, snapshot, out string? cause));
        Assert.NotNull(cause);
        Assert.True(HotPagesFile.Write(images.Fd, snapshot, s_ranges).Failed);
        Assert.Equal(["inventory.img"], images.Names());
    }

    private static ImagesDirectory Snapshot(uint version)
    {
        var images = new ImagesDirectory();
        Write(images, version);
        return images;
    }

    private static void Write(ImagesDirectory images, uint version)
    {
        SnapshotWriter writer = images.Writer;
        writer.Begin(sync: false);
        writer.Commit(new InventoryEntry { ImgVersion = version }, sync: false);
        writer.Keep()();
    }
}
