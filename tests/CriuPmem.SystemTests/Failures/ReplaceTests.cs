using System.Security.Cryptography;

namespace CriuPmem.SystemTests.Failures;

/// <summary>A dump into a directory that holds a snapshot already: it takes its place as a whole, or not at all.</summary>
public sealed class ReplaceTests
{
    [Fact]
    public void Dump_ThatFails_LeavesTheOldSnapshot()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        using var refused = new LiveWorkload(new Workload("refused_unshared", "0"));
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images, "-R");
        Dictionary<string, string> old = Fingerprint(images);
        string[] again = ["dump", "-D", images, "-t", $"{live.Pid}"];

        EngineRun.Refuses(["dump", "-D", images, "-t", "4194303"], "CP1100");
        Expect(old, images, "a mistyped pid");
        EngineRun.Refuses(["dump", "-D", images, "-t", $"{refused.Pid}"], "CP1202");
        Expect(old, images, "a state that cannot be saved");
        EngineRun.Refuses([.. again, "--action-script", EngineRun.Script(live, "pre-dump", "exit 3")], "CP1005");
        Expect(old, images, "a script that said no before");
        EngineRun.Refuses([.. again, "--action-script", EngineRun.Script(live, "post-dump", "exit 3")], "CP1005");
        Expect(old, images, "a script that said no when the new one was complete");
        EngineRun.Refuses(["dump", "-D", images, "-t", $"{live.Pid}", "--prev-images-dir", "nowhere"], "CP1300");
        Expect(old, images, "a parent that is not there");

        refused.Stop();
        live.Check("after dumps that failed");
        RestoreOld(live, images);
    }

    [Fact]
    public void Dump_WithoutSpace_LeavesTheOldSnapshot()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string measure = live.NewImages("measure");
        live.Dump(Engine.Ours, measure, "-R");
        long bytes = Directory.GetFiles(measure, "*.img").Sum(path => (new FileInfo(path).Length + 4095) / 4096 * 4096);
        using var mount = new TestMount(live.NewImages("images"), $"size={bytes * 3 / 2}");
        live.Dump(Engine.Ours, mount.Path, "-R");
        Dictionary<string, string> old = Fingerprint(mount.Path);
        EngineRun.Refuses(["dump", "-D", mount.Path, "-t", $"{live.Pid}"], "CP1304");
        Expect(old, mount.Path, "a full file system");
        RestoreOld(live, mount.Path);
    }

    [Fact]
    public void Dump_ThatSucceeds_LeavesNothingOfTheOldSnapshot()
    {
        using var many = new LiveWorkload(Workload.Named("tree_shapes"));
        using var live = new LiveWorkload(Workload.Named("fd_regular"));
        string images = live.NewImages("images"), fresh = live.NewImages("fresh");
        many.Dump(Engine.Ours, images, "-R");
        File.WriteAllText(Path.Combine(images, "notes.img"), "not an image");
        live.Dump(Engine.Ours, fresh, "-R");
        live.Dump(Engine.Ours, images);
        Assert.Equal(Fingerprint(fresh).Keys.Append("notes.img").Order(StringComparer.Ordinal), Fingerprint(images).Keys);
        Assert.Empty(Directory.GetDirectories(images));
        live.Restore(Engine.Ours, images);
        live.Check("restored from a directory with a history");
        live.Stop();
        many.Stop();
    }

    [Fact]
    public void Dump_Killed_LeavesOneOfTheTwoSnapshots() => Seed.Run(random =>
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images, "-R");
        TimeSpan whole = EngineRun.Time(() => live.Dump(Engine.Ours, images, "-R"));
        int inTime = 0, kills = Machine.Quick ? 10 : 60;
        for (int i = 1; i <= kills; i++)
        {
            // Most of them near the end, where the one takes the other's place.
            TimeSpan after = whole * (i % 3 == 0 ? random.NextDouble() : 0.6 + (random.NextDouble() * 0.5));
            if (EngineRun.Kill(after, "dump", "-R", "-t", $"{live.Pid}", "-D", images) is null) inTime++;
            live.Check($"killed after {after.TotalMilliseconds:0.0} ms");
            ProcessTable.Kill(live.Processes);
            ProcessTable.WaitGone([live.Pid], TimeSpan.FromSeconds(10), "kill");
            live.Restore(Engine.Ours, images);
            live.Check($"restored after a dump was killed after {after.TotalMilliseconds:0.0} ms");
        }

        live.Dump(Engine.Ours, images, "-R");
        Assert.Empty(Directory.GetDirectories(images));
        Assert.True(inTime > kills / 4, $"only {inTime} of {kills} kills hit before the end");
        live.Stop();
    });

    [Fact]
    public void Dump_IntoADirectoryInUse_IsRefused()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        using var other = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        string result = Path.Combine(live.Home, "second");
        string script = EngineRun.Script(live, "post-dump", $"""
            {Engine.Ours.Program} dump -t {other.Pid} -D {images} >{result} 2>&1; echo "rc=$?" >>{result}
            {Engine.Ours.Program} restore -d -D {images} >>{result} 2>&1; echo "rc=$?" >>{result}
            """);
        live.Dump(Engine.Ours, images, "--action-script", script);
        string[] lines = File.ReadAllLines(result);
        Assert.Equal(["rc=1", "rc=1"], lines.Where(line => line.StartsWith("rc=", StringComparison.Ordinal)));
        Assert.All(lines.Where(line => !line.StartsWith("rc=", StringComparison.Ordinal)), line =>
        {
            Assert.Contains("[CP1305]", line, StringComparison.Ordinal);
            Assert.Contains("another criu-pmem (process ", line, StringComparison.Ordinal);
        });
        other.Check("after a dump that was refused");
        live.Restore(Engine.Ours, images);
        live.Check("after the dump that came first");
        other.Stop();
        live.Stop();
    }

    [Theory]
    [InlineData("mkfifo")]
    [InlineData("mkdir")]
    [InlineData("ln -s /etc/passwd")]
    [InlineData("mknod -m 600 {0} c 1 3")]
    public void ImageName_TakenByAnother_IsRefused(string make)
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string images = live.NewImages("images");
        string name = Path.Combine(images, "pstree.img");
        string command = make.Contains("{0}", StringComparison.Ordinal) ? make.Replace("{0}", name, StringComparison.Ordinal) : $"{make} {name}";
        Assert.Equal(0, Command.Run("/bin/sh", ["-c", command], Engine.Limit).ExitCode);
        EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", images], "CP1300", "pstree.img", "remove it");
        live.Check("after a dump that was refused");
        live.Stop();
    }

    [Fact]
    public void Log_FifoWithoutReader_IsRefusedAtOnce()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string images = live.NewImages("images");
        string fifo = Path.Combine(images, "log");
        Assert.Equal(0, Command.Run("/usr/bin/mkfifo", [fifo], Engine.Limit).ExitCode);
        EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", images, "-o", fifo], "CP1000", "FIFO");
        live.Stop();
    }

    private static void RestoreOld(LiveWorkload live, string images)
    {
        ProcessTable.Kill(live.Processes);
        ProcessTable.WaitGone([live.Pid], TimeSpan.FromSeconds(10), "kill");
        live.Restore(Engine.Ours, images);
        live.Check("restored from the snapshot that was to be replaced");
        live.Stop();
    }

    private static void Expect(Dictionary<string, string> old, string images, string when)
    {
        Assert.True(old.SequenceEqual(Fingerprint(images)), $"the old snapshot is another one after {when}");
        Assert.Empty(Directory.GetDirectories(images));
    }

    private static Dictionary<string, string> Fingerprint(string images) => Directory.GetFiles(images, "*.img").Order(StringComparer.Ordinal)
        .ToDictionary(path => Path.GetFileName(path), path => Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(path))));
}
