using System.Globalization;

namespace CriuPmem.SystemTests;

/// <summary>Snapshots on a disk: what is large and must be durable goes past the page cache, and is read ahead at a restore.</summary>
public sealed class DiskTests : IDisposable
{
    private const long LeastBytes = 64 << 20;

    private readonly DirectoryInfo _disk = Directory.CreateTempSubdirectory("criu-pmem-tests.disk.");

    public void Dispose() => _disk.Delete(recursive: true);

    [Theory]
    [InlineData("", true)]
    [InlineData("--no-sync", false)] // nobody waits for the disk
    [InlineData("-R --no-live", false)] // the program would wait for it
    [InlineData("-R --live --live-mode copy", true)]
    [InlineData("-R --live --live-mode twins", true)]
    public void LargePages_GoPastThePageCache(string options, bool direct)
    {
        SkipWithoutDisk();
        using var live = new LiveWorkload(Workload.Named("mem_large"));
        live.Check("before the dump");
        live.Dump(Engine.Ours, _disk.FullName, options.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        (long cached, long all) = Cached();
        Assert.True(all >= LeastBytes, $"{all} bytes of pages are too few to show anything");
        Assert.True(direct ? cached < all / 2 : cached == all, $"{cached} of {all} bytes of pages are in the page cache");
        if (!options.Contains("-R", StringComparison.Ordinal))
            live.Restore(Engine.Ours, _disk.FullName);
        live.Check("afterwards");
        live.Stop();
    }

    [Fact]
    public void Snapshot_ThatIsNotInThePageCache_ComesBack()
    {
        SkipWithoutDisk();
        using var live = new LiveWorkload(Workload.Named("mem_large"));
        live.Dump(Engine.Ours, _disk.FullName);
        Assert.True(Command.Run("/usr/bin/dd", [$"if={Pages().MaxBy(static file => file.Length)!.FullName}", "iflag=nocache", "count=0"], Engine.Limit).ExitCode == 0, "dd cannot drop what is cached");
        Assert.Equal(0, Cached().Cached);
        live.Restore(Engine.Ours, _disk.FullName, "--no-lazy");
        (long cached, long all) = Cached();
        Assert.Equal(all, cached);
        live.Check("restored");
        live.Stop();
    }

    private void SkipWithoutDisk()
    {
        string type = Command.Run("/usr/bin/stat", ["--file-system", "--format=%T", _disk.FullName], Engine.Limit).Output.Trim();
        if (type is not ("ext2/ext3" or "xfs" or "btrfs"))
            Assert.Skip($"not here: {_disk.FullName} is on {type}, not on a disk");
    }

    private FileInfo[] Pages() => _disk.GetFiles("pages-*.img");

    /// <summary>Bytes of the large pages files that the page cache has, and all of them.</summary>
    private (long Cached, long All) Cached()
    {
        long cached = 0, all = 0;
        foreach (FileInfo file in Pages().Where(static file => file.Length >= LeastBytes))
        {
            Command told = Command.Run("/usr/bin/fincore", ["--bytes", "--noheadings", "--output", "RES", file.FullName], Engine.Limit);
            Assert.True(told.ExitCode == 0, told.Output);
            cached += long.Parse(told.Output, CultureInfo.InvariantCulture);
            all += file.Length;
        }

        return (cached, all);
    }
}
