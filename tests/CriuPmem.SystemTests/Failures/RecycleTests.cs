using System.Globalization;

namespace CriuPmem.SystemTests.Failures;

/// <summary>dump --recycle: files of a snapshot that was replaced are written again, unless somebody reads them still.</summary>
public sealed class RecycleTests
{
    private const string Kept = ".criu-pmem-recycled";

    [Fact]
    public void Dump_WritesIntoFilesOfTheSnapshotBeforeTheLast()
    {
        using var live = new LiveWorkload(Workload.Named("mem_large"));
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images, "-R", "--recycle", "--no-live");
        Assert.False(Directory.Exists(Path.Combine(images, Kept)), "nothing was replaced yet");
        string first = Pages(images);
        live.Dump(Engine.Ours, images, "-R", "--recycle", "--no-live");
        Assert.Equal(first, Inode(Assert.Single(Directory.GetFiles(Path.Combine(images, Kept)))));
        live.Dump(Engine.Ours, images, "-R", "--recycle");
        Assert.Equal(first, Pages(images));
        live.Check("after three dumps");
        List<int> tree = live.Processes();
        live.Dump(Engine.Ours, images, "--recycle");
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        live.Restore(Engine.Ours, images);
        live.Check("restored");
        live.Dump(Engine.Ours, images, "-R");
        Assert.False(Directory.Exists(Path.Combine(images, Kept)), "a dump without --recycle keeps nothing");
        live.Stop();
    }

    [Fact]
    public void FileThatIsRead_IsNotWritten()
    {
        using var live = new LiveWorkload(Workload.Named("mem_large"));
        string images = live.NewImages("images");
        for (int i = 0; i < 2; i++)
            live.Dump(Engine.Ours, images, "-R", "--recycle", "--no-live");
        string kept = Assert.Single(Directory.GetFiles(Path.Combine(images, Kept)));
        using FileStream reader = File.OpenRead(kept);
        string inode = Inode(kept);
        byte[] before = new byte[4096], after = new byte[4096];
        reader.ReadExactly(before);
        live.Dump(Engine.Ours, images, "-R", "--recycle", "--no-live");
        Assert.NotEqual(inode, Pages(images));
        reader.Position = 0;
        reader.ReadExactly(after);
        Assert.Equal(before, after);
        live.Stop();
    }

    /// <summary>A larger file is cut.</summary>
    [Fact]
    public void SmallProgram_TakesAFileOfALargeOne()
    {
        using var large = new LiveWorkload(Workload.Named("mem_large"));
        using var small = new LiveWorkload(Workload.Named("mem_anon"));
        string images = small.NewImages("images");
        for (int i = 0; i < 2; i++)
            large.Dump(Engine.Ours, images, "-R", "--recycle", "--no-live");
        string kept = Inode(Assert.Single(Directory.GetFiles(Path.Combine(images, Kept))));
        List<int> tree = small.Processes();
        small.Dump(Engine.Ours, images, "--recycle");
        Assert.Equal(kept, Pages(images));
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        small.Restore(Engine.Ours, images);
        small.Check("restored");
        small.Stop();
        large.Stop();
    }

    private static string Pages(string images) => Inode(Path.Combine(images, "pages-1.img"));

    private static string Inode(string file) =>
        Command.Run("/usr/bin/stat", ["-c", "%i", file], TimeSpan.FromSeconds(10)).Output.Trim().ToString(CultureInfo.InvariantCulture);
}
