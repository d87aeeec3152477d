using System.Text.Json;
using CriuPmem.SystemTests.Failures;

namespace CriuPmem.SystemTests;

/// <summary>criu-pmem estimate tells the size of a snapshot before it is made, and does not disturb the tree.</summary>
public sealed class EstimateTests
{
    private const double Bounds = 0.25;

    [Theory]
    [InlineData("mem_anon")]
    [InlineData("mem_memfd")]
    [InlineData("mem_many")]
    [InlineData("mem_shared_anon")]
    [InlineData("mem_file_private")]
    [InlineData("threads_basic")]
    [InlineData("tree_shapes")]
    [InlineData("tree_clone_vm")]
    [InlineData("fd_many")]
    [InlineData("fd_deleted")]
    public void Size_IsWithinAQuarter(string workload)
    {
        using var live = new LiveWorkload(Workload.Named(workload));
        string images = live.NewImages("images");
        List<int> before = live.LastingProcesses();
        live.Check("before an estimate"); // what it looks at for the first time takes room: a page of shared memory, say
        Command estimate = EngineRun.Run("estimate", "-t", $"{live.Pid}", "-D", images, "--json");
        Assert.True(estimate.ExitCode == 0, estimate.Output);
        Assert.Empty(Directory.GetFileSystemEntries(images));
        using JsonDocument told = JsonDocument.Parse(estimate.Output);
        Assert.Equal(before, live.LastingProcesses());
        Assert.InRange(told.RootElement.GetProperty("processes").GetInt32(), before.Count, before.Count + 2); // with zombies
        live.Dump(Engine.Ours, images, "-R", "--no-live");
        long real = Directory.GetFiles(images, "*.img").Sum(static path => new FileInfo(path).Length);
        long expected = told.RootElement.GetProperty("snapshot_bytes").GetInt64();
        Assert.True(Math.Abs(expected - real) <= real * Bounds, $"{expected} bytes were expected, {real} they are");
        foreach (string time in (string[])["dump_us", "dump_running_us", "frozen_us", "frozen_running_us", "restore_us"])
            Assert.InRange(told.RootElement.GetProperty(time).GetInt64(), 1, 60_000_000);
        live.Check("after an estimate and a dump");
        live.Stop();
    }

    /// <summary>Nothing is stopped: a stop would be seen in the state of a thread that always computes.</summary>
    [Fact]
    public void Tree_IsNotTraced()
    {
        using var live = new LiveWorkload(Workload.Named("threads_basic"));
        string images = live.NewImages("images"), trace = Path.Combine(live.Home, "trace");
        Command traced = Command.Run("/usr/bin/strace", ["-f", "-o", trace, "-e", "trace=ptrace,kill,tgkill,pidfd_send_signal", Engine.Ours.Program, "estimate", "-t", $"{live.Pid}", "-D", images], Engine.Limit);
        if (!File.Exists(trace)) Assert.Skip("not here: strace is not installed");
        Assert.True(traced.ExitCode == 0, traced.Output);
        Assert.DoesNotContain(File.ReadAllLines(trace), static line => line.Contains("ptrace(", StringComparison.Ordinal) || line.Contains("kill(", StringComparison.Ordinal) || line.Contains("send_signal(", StringComparison.Ordinal));
        live.Check("after an estimate");
        live.Stop();
    }

    [Fact]
    public void ForPeople_SaysTheSame()
    {
        using var live = new LiveWorkload(Workload.Named("threads_basic"));
        Command estimate = EngineRun.Run("estimate", "-t", $"{live.Pid}", "-D", live.NewImages("images"));
        Assert.True(estimate.ExitCode == 0, estimate.Output);
        foreach (string word in (string[])["tree ", "snapshot ", "dump ", "restore ", "threads", "dump -R "])
            Assert.Contains(word, estimate.Output, StringComparison.Ordinal);
        live.Stop();
    }

    /// <summary>It is asked in order to learn that: so it is an answer, not a failure.</summary>
    [Fact]
    public void TooLittleRoom_IsTold()
    {
        using var live = new LiveWorkload(Workload.Named("mem_many"));
        using var small = new TestMount(live.NewImages("small"), "size=2m");
        Command estimate = EngineRun.Run("estimate", "-t", $"{live.Pid}", "-D", small.Path);
        Assert.True(estimate.ExitCode == 0, estimate.Output);
        Assert.Matches(@"(?m)^snapshot   [\d.]+ MiB", estimate.Output);
        Assert.Matches(@"(?m)^no room    it needs [\d.]+ MiB, and [\d.]+ [KM]iB are free", estimate.Output);
        Assert.Contains("no room to measure", estimate.Output, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(small.Path));
        live.Stop();
    }

    [Fact]
    public void DirectoryThatCannotBeWritten_IsRefused()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        using var fixedMount = new TestMount(live.NewImages("fixed"), "size=200m,ro");
        EngineRun.Refuses(["estimate", "-t", $"{live.Pid}", "-D", fixedMount.Path], "CP1300", "cannot be written to", "Read-only file system", "-D");
        EngineRun.Refuses(["dump", "-R", "-t", $"{live.Pid}", "-D", fixedMount.Path, "--live"], "CP1300", "can be written to", "-D");
        live.Check("after refusals");
        live.Stop();
    }

    [Fact]
    public void SomebodyElsesProcess_IsRefused()
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string images = live.NewImages("images");
        File.SetUnixFileMode(images, (UnixFileMode)0x1FF);
        string[] user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", Engine.Ours.Program];
        if (Command.Run("/usr/bin/setpriv", [.. user, "--version"], Engine.Limit).ExitCode != 0) Assert.Skip("not here: other users cannot run the engine where it lies");
        Command refused = Command.Run("/usr/bin/setpriv", [.. user, "estimate", "-t", $"{live.Pid}", "-D", images], Engine.Limit);
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("[CP1002]", refused.Output, StringComparison.Ordinal);
        Assert.Contains("Run it as root", refused.Output, StringComparison.Ordinal);
        live.Stop();
    }

    [Fact]
    public void NoSuchProcess_IsSaid() => EngineRun.Refuses(["estimate", "-t", "4194303"], "CP1100", "4194303");
}
