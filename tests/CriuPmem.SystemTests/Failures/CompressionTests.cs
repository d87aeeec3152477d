namespace CriuPmem.SystemTests.Failures;

/// <summary>Compressed snapshots: smaller, refused by the peer, and brought back to what it reads.</summary>
public sealed class CompressionTests
{
    [Theory]
    [InlineData("lz4", 0.5)]
    [InlineData("lz4:9", 0.5)]
    [InlineData("zstd", 0.4)]
    public void Memory_TakesLessRoom(string method, double most)
    {
        using var live = new LiveWorkload(Workload.Named("tree_shapes"));
        string plain = live.NewImages("plain"), compressed = live.NewImages("compressed");
        live.Dump(Engine.Ours, plain, "-R", "--no-live");
        live.Check("after a plain dump");
        live.Dump(Engine.Ours, compressed, "-R", $"--compress={method}");
        live.Check("after a compressed dump");
        long before = Bytes(plain, "pages-*.img"), after = Bytes(compressed, "cpages-*.img");
        Assert.Empty(Directory.GetFiles(compressed, "pages-*.img"));
        Assert.True(after < before * most, $"{before} bytes became {after}");
        live.Stop();
    }

    /// <summary>What takes long says from time to time how far it has come.</summary>
    [Fact]
    public void HighLevel_TellsHowFarItIs()
    {
        using var live = new LiveWorkload(Workload.Named("mem_large"));
        string images = live.NewImages("images");
        string[] arguments = ["dump", "-R", "-t", $"{live.Pid}", "-D", images, "-v4", "-o", "dump.log", "--compress=lz4:12"];
        Command dump = Command.Run(Engine.Ours.Program, arguments, TimeSpan.FromMinutes(4)); // some seconds, where nothing else runs
        Assert.True(dump.ExitCode == 0, dump.Output);
        Assert.Matches("compress: compressing for [0-9]+ s: [0-9]+ MiB of pages became [0-9]+ MiB so far", File.ReadAllText(Path.Combine(images, "dump.log")));
        live.Check("after the dump");
        live.Stop();
    }

    [Theory]
    [InlineData("mem_file_private")]
    [InlineData("mem_memfd")]
    public void Decompressed_IsWhatAnyEngineReads(string workload)
    {
        using var live = new LiveWorkload(Workload.Named(workload));
        string images = live.NewImages("images");
        Gone(live, () => live.Dump(Engine.Ours, images, "--compress"));
        Assert.NotEmpty(Directory.GetFiles(images, "cpages-*.img"));
        Decompress(images);
        Assert.Empty(Directory.GetFiles(images, "cpages-*.img"));
        live.Restore(Machine.PeerMode is "0" or "" ? Engine.Ours : Engine.Peer, images);
        live.Check("after decompress and restore");
        live.Stop();
    }

    [Fact]
    public void Decompressed_WithAllThatItContinues()
    {
        using var live = new LiveWorkload(Workload.Named("mem_churn"));
        string first = live.NewImages("first"), second = live.NewImages("second");
        Engine.Ours.PreDump(live.Pid, first, ["--compress=zstd"]);
        live.Check("after a pre-dump");
        Gone(live, () => live.Dump(Engine.Ours, second, "--prev-images-dir", "../first"));
        Assert.NotEmpty(Directory.GetFiles(second, "pages-*.img"));
        RefusesIfPeer(second);
        Decompress(second);
        Assert.Empty(Directory.GetFiles(first, "cpages-*.img"));
        live.Restore(Machine.PeerMode is "0" or "" ? Engine.Ours : Engine.Peer, second);
        live.Check("after decompress and restore");
        live.Stop();
    }

    [Fact]
    public void Decompress_WithoutRoom_LeavesTheSnapshotAsItWas()
    {
        using var live = new LiveWorkload(Workload.Named("mem_thp"));
        using var mount = new TestMount(live.NewImages("images"), "size=16m");
        Gone(live, () => live.Dump(Engine.Ours, mount.Path, "--compress"));
        string[] before = [.. Directory.GetFiles(mount.Path, "*.img").Order(StringComparer.Ordinal)];
        EngineRun.Refuses(["decompress", "-D", mount.Path], "CP1304");
        Assert.Equal(before, Directory.GetFiles(mount.Path, "*.img").Order(StringComparer.Ordinal));
        live.Restore(Engine.Ours, mount.Path);
        live.Check("after a decompress that failed, and restore");
        live.Stop();
    }

    [Fact]
    public void Peer_RefusesCompressedPages()
    {
        if (Machine.PeerMode is "0" or "") Assert.Skip("needs the peer");
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        Gone(live, () => live.Dump(Engine.Ours, images, "--compress"));
        RefusesIfPeer(images);
        live.ExpectGone("after the peer refused it");
        live.Restore(Engine.Ours, images);
        live.Check("after the peer refused it");
        live.Stop();
    }

    [Theory]
    [InlineData("2m", false)]
    [InlineData("2m", true)]
    public void Directory_FullInTheMiddle(string size, bool leaveRunning)
    {
        using var live = new LiveWorkload(Workload.Named("mem_thp"));
        using var mount = new TestMount(live.NewImages("images"), $"size={size}");
        string[] rest = leaveRunning ? ["-R", "--no-live"] : [];
        EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", mount.Path, "--compress", .. rest], "CP1304");
        Assert.Empty(Directory.GetFiles(mount.Path, "*.img"));
        live.Check("after a dump that found no room");
        live.Stop();
    }

    [Fact]
    public void Dedup_LeavesCompressedPagesAlone()
    {
        using var live = new LiveWorkload(Workload.Named("mem_churn"));
        string first = live.NewImages("first"), second = live.NewImages("second");
        Engine.Ours.PreDump(live.Pid, first, ["--compress"]);
        live.Check("after a pre-dump");
        Gone(live, () => live.Dump(Engine.Ours, second, "--prev-images-dir", "../first", "--compress", "--auto-dedup"));
        live.Restore(Engine.Ours, second);
        live.Check("after dedup");
        live.Stop();
    }

    [Theory]
    [InlineData("lzma", "lz4 or zstd")]
    [InlineData("zstd:40", "1 to 19")]
    [InlineData("lz4:0", "1 to 12")]
    public void Mistake_IsAnsweredWithWhatToWrite(string method, string words) =>
        EngineRun.Refuses(["dump", "-t", "4194303", $"--compress={method}"], "CP1006", words);

    private static void RefusesIfPeer(string images)
    {
        if (Machine.PeerMode is "0" or "") return;
        Command peer = Command.Run(Engine.Peer.Program, ["restore", "-d", "-D", images, "-v4", "-o", "peer.log"], Engine.Limit);
        Assert.NotEqual(0, peer.ExitCode);
        Assert.Contains("version 1000", File.ReadAllText(Path.Combine(images, "peer.log")), StringComparison.Ordinal);
    }

    private static void Decompress(string images)
    {
        Command command = EngineRun.Run("decompress", "-D", images);
        Assert.True(command.ExitCode == 0, command.Output);
    }

    private static void Gone(LiveWorkload live, Action dump)
    {
        List<int> tree = live.Processes();
        dump();
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
    }

    private static long Bytes(string images, string pattern) => Directory.GetFiles(images, pattern).Sum(static path => new FileInfo(path).Length);
}
