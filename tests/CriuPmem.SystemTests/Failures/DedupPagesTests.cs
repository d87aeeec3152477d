namespace CriuPmem.SystemTests.Failures;

/// <summary>dump --dedup-pages: what fork relatives share is stored once, and restored by either engine.</summary>
public sealed class DedupPagesTests
{
    [Theory]
    [InlineData("mem_cow_fork", "")]
    [InlineData("mem_cow_fork", "--compress")]
    [InlineData("tree_shapes", "")]
    [InlineData("mem_anon", "")]
    public void Restored_IsTheSame(string workload, string more)
    {
        using var live = new LiveWorkload(Workload.Named(workload));
        string images = live.NewImages("images");
        List<int> before = live.LastingProcesses();
        for (int round = 1; round <= 2; round++) // the second time in place of the first
        {
            live.Dump(Engine.Ours, images, ["--dedup-pages", .. more.Length == 0 ? (string[])[] : [more]]);
            ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
            live.Restore(Engine.Ours, images);
            Assert.Equal(before, live.LastingProcesses());
            live.Check($"after round {round}");
        }

        live.Dump(Engine.Ours, images, "-R"); // and a plain one in place of that
        Assert.False(Directory.Exists(Path.Combine(images, ".criu-pmem-common")));
        live.Check("after a plain dump");
        live.Stop();
    }

    [Fact]
    public void Forked_TakesLessRoom()
    {
        using var live = new LiveWorkload(Workload.Named("mem_cow_fork"));
        string plain = live.NewImages("plain"), less = live.NewImages("less");
        live.Dump(Engine.Ours, plain, "-R", "--no-live");
        live.Check("after a plain dump");
        live.Dump(Engine.Ours, less, "-R", "--dedup-pages");
        live.Check("after a dump with common pages");
        long before = Bytes(plain), after = Bytes(less);
        Assert.True(after < before * 0.7, $"{before} bytes became {after}");
        live.Stop();
    }

    /// <summary>The peer loses the sharing, as always, but not the contents.</summary>
    [Fact]
    public void Peer_RestoresIt()
    {
        if (Machine.PeerMode is "0" or "") Assert.Skip("needs the peer");
        using var live = new LiveWorkload(Workload.Named("tree_shapes"));
        string images = live.NewImages("images");
        List<int> before = live.LastingProcesses();
        live.Dump(Engine.Ours, images, "--dedup-pages");
        Assert.True(Directory.Exists(Path.Combine(images, ".criu-pmem-common")));
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
        live.Restore(Engine.Peer, images);
        live.Check("after the peer restored it");
        live.Stop();
    }

    [Theory]
    [InlineData("--live")]
    [InlineData("--stream")]
    [InlineData("--track-mem")]
    public void WithWhatItCannot_IsRefused(string option) =>
        EngineRun.Refuses(["dump", "-t", "4194303", "--dedup-pages", option], "CP1006", "--dedup-pages");

    private static long Bytes(string images) => Directory.GetFiles(images, "pages-*.img", SearchOption.AllDirectories).Sum(static path => new FileInfo(path).Length);
}
