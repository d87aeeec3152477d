namespace CriuPmem.SystemTests.Failures;

/// <summary>Limits of the user, of a control group and of the machine: which one it is, and what to do, is said in place of what follows from it.</summary>
public sealed class LimitTests
{
    /// <summary>Whatever call it is that meets the limit first.</summary>
    [Theory]
    [InlineData("mem_anon", 6)]
    [InlineData("mem_anon", 8)]
    [InlineData("mem_anon", 10)]
    public void Dump_WithoutOpenFilesToSpare_NamesTheLimit(string workload, int limit)
    {
        using var live = new LiveWorkload(Workload.Named(workload));
        string images = live.NewImages("images");
        ExpectLimit(Limited(limit, "dump", "-R", "-t", $"{live.Pid}", "-D", images), limit);
        Assert.Empty(Directory.EnumerateFileSystemEntries(images));
        live.Check("after a dump that failed");
        live.Stop();
    }

    [Theory]
    [InlineData("mem_anon", 20)]
    [InlineData("fd_many", 100)]
    public void Restore_WithoutOpenFilesToSpare_NamesTheLimit(string workload, int limit)
    {
        using var live = new LiveWorkload(Workload.Named(workload));
        string images = live.NewImages("images");
        List<int> tree = live.Processes();
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        ExpectLimit(Limited(limit, "restore", "-d", "-D", images), limit, "have numbers for which criu-pmem must be allowed");
        live.ExpectGone("after a restore that failed");
        live.Restore(Engine.Ours, images);
        live.Check("restored with more");
        live.Stop();
    }

    [Theory]
    [InlineData("page-server", "--port", "0")]
    [InlineData("lazy-pages")]
    [InlineData("pre-dump", "-t", "1")]
    public void Server_WithoutOpenFilesToSpare_NamesTheLimit(params string[] command)
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images, "-R");
        ExpectLimit(Limited(4, [.. command, "-D", images]), 4);
        live.Stop();
    }

    /// <summary>A limit that may be raised is raised; what the program may is its own.</summary>
    [Fact]
    public void SoftLimit_IsRaised_AndTheProgramKeepsItsOwn()
    {
        using var live = new LiveWorkload(Workload.Named("fd_many"));
        string images = live.NewImages("images"), before = FilesOf(live);
        List<int> tree = live.Processes();
        const string script = "ulimit -Sn 20; exec \"$@\"";
        Assert.Equal(0, Command.Run("/bin/sh", ["-c", script, "sh", Engine.Ours.Program, "dump", "-t", $"{live.Pid}", "-D", images], Engine.Limit).ExitCode);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        Command restored = Command.Run("/bin/sh", ["-c", script, "sh", Engine.Ours.Program, "restore", "-d", "-D", images], Engine.Limit);
        Assert.True(restored.ExitCode == 0, restored.Output);
        Assert.Equal(before, FilesOf(live));
        live.Check("restored");
        live.Stop();
    }

    /// <summary>Threads and processes, which a control group limits together: whichever is one too many.</summary>
    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public void Threads_TooFew_AreNamed_OrDoneWithout(int most)
    {
        using var group = new TestGroup("pids", "pids.max", most);
        using var live = new LiveWorkload(new Workload("mem_hot", "80"));
        string images = live.NewImages("images");
        ExpectTasks(group.Run("dump", "-R", "-t", $"{live.Pid}", "-D", images));
        live.Check("after a dump");
        ExpectTasks(group.Run("dump", "-R", "--live", "--compress", "-t", $"{live.Pid}", "-D", images));
        live.Check("after a live dump");
        List<int> tree = live.Processes();
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        Command restored = group.Run("restore", "-d", "-D", images);
        ExpectTasks(restored);
        if (restored.ExitCode != 0)
        {
            live.ExpectGone("after a restore that failed");
            live.Restore(Engine.Ours, images);
        }

        live.Check("after the restore");
        live.Stop();
    }

    /// <summary>A program that has no memory left to take: what is made in it for a dump must not be what ends it.</summary>
    [Theory]
    [InlineData("--no-live")]
    [InlineData("--live")]
    [InlineData("--live --track-mem")]
    public void ProgramAtItsLimitOfMemory_IsNotEndedByADump(string options)
    {
        using var group = new TestGroup("memory", "memory.limit_in_bytes", null);
        using var live = new LiveWorkload(new Workload("mem_hot", "80"));
        group.Add(live.Pid);
        File.WriteAllText(Path.Combine(live.Home, "all"), "");
        live.Check("in its group");
        long room = 512 << 10;
        group.Limit(group.Number("memory.usage_in_bytes") + room);
        for (int i = 0; i < 3; i++)
        {
            Command dump = EngineRun.Run(["dump", "-R", "-t", $"{live.Pid}", "-D", live.NewImages($"images.{i}"), .. options.Split(' ')]);
            Assert.True(dump.ExitCode == 0, dump.Output);
            live.Check($"after dump {i}");
        }

        live.Stop();
    }

    private static void ExpectTasks(Command command)
    {
        Assert.True(command.ExitCode is 0 or 1, $"exits with {command.ExitCode}: {command.Output}");
        if (command.ExitCode == 0) return;
        string line = command.Output.Trim().Split('\n')[^1];
        Assert.Contains("[CP1009]", line, StringComparison.Ordinal);
        Assert.Contains("pids.max", line, StringComparison.Ordinal);
    }

    private static string FilesOf(LiveWorkload live) => File.ReadLines($"/proc/{live.Pid}/limits").First(line => line.StartsWith("Max open files", StringComparison.Ordinal));

    private static Command Limited(int limit, params string[] arguments)
    {
        Command command = Command.Run("/bin/sh", ["-c", $"ulimit -n {limit}; exec \"$@\"", "sh", Engine.Ours.Program, .. arguments], Engine.Limit);
        Assert.False(command.TimedOut, $"criu-pmem {string.Join(' ', arguments)} hangs");
        return command;
    }

    private static void ExpectLimit(Command command, int limit, string words = "as it may have")
    {
        string line = command.Output.Trim().Split('\n')[^1];
        Assert.True(command.ExitCode == 1, $"exits with {command.ExitCode}: {command.Output}");
        // What is seen of it may be something else, as that the status of a process cannot be read: then it is told as the likely reason.
        Assert.Matches(@"\[CP1009\]|Perhaps because", line);
        Assert.Contains(words, line, StringComparison.Ordinal);
        Assert.Contains($"{limit}", line, StringComparison.Ordinal);
        Assert.Contains("ulimit -n", line, StringComparison.Ordinal);
    }
}
