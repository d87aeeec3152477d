namespace CriuPmem.SystemTests.Remote;

/// <summary>Memory that is sent to a page server, ours or the peer's, by our dump or the peer's, and restored there by either.</summary>
public sealed class PageServerTests
{
    private static readonly string[] s_workloads = ["mem_anon", "mem_shared_anon", "mem_memfd", "mem_cow_fork", "mem_thp", "mem_file_private", "tree_shapes"];

    public static TheoryData<string, string> Ways()
    {
        var data = new TheoryData<string, string>();
        foreach (string workload in s_workloads)
        {
            foreach (string way in Asked(["ours-ours-ours", "ours-peer-ours", "ours-peer-peer", "ours-ours-peer", "peer-ours-ours", "peer-ours-peer"]))
                data.Add(workload, way);
        }

        return data;
    }

    public static TheoryData<string> ChainWays() => [.. Asked(["ours-ours-ours", "ours-peer-ours", "ours-peer-peer", "ours-ours-peer"])];

    [Theory]
    [MemberData(nameof(Ways))]
    public void Dump_ToPageServer_IsRestored(string workload, string way)
    {
        (Engine dumps, Engine serves, Engine restores) = Engines(way);
        using var live = new LiveWorkload(Workload.Named(workload));
        live.Check("before the dump");
        string dumped = live.NewImages("dumped"), received = live.NewImages("received");
        List<int> before = live.LastingProcesses();
        Send(live, dumps, serves, dumped, received);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), $"{dumps.Name} dump");
        Images.ExpectPages(dumped, any: false);
        Images.ExpectPages(received, any: true);
        Images.Join(dumped, received);
        live.Restore(restores, received);
        live.Check("after the restore");
        live.Stop();
    }

    /// <summary>Each snapshot of a chain has its page server, which takes what was not written since from the one before.</summary>
    [Theory]
    [MemberData(nameof(ChainWays))]
    public void PreDumps_ToPageServers_AreContinued(string way)
    {
        (Engine dumps, Engine serves, Engine restores) = Engines(way);
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        var received = new List<string>();
        string dumped = "";
        for (int i = 1; i <= 3; i++)
        {
            string[] parent = i == 1 ? [] : ["--prev-images-dir", $"../{Path.GetFileName(dumped)}"];
            string[] parentThere = i == 1 ? [] : ["--prev-images-dir", $"../{Path.GetFileName(received[^1])}"];
            dumped = live.NewImages($"dumped.{i}");
            received.Add(live.NewImages($"received.{i}"));
            int port = Machine.FreePort();
            using Server server = Server.AtPort(serves, "page-server", received[^1], port, parentThere);
            string[] options = ["--page-server", "--address", "127.0.0.1", "--port", $"{port}", .. parent];
            if (i < 3)
                dumps.PreDump(live.Pid, dumped, options);
            else
                live.Dump(dumps, dumped, options);
            server.ExpectSuccess();
            if (i < 3)
                live.Check($"after pre-dump {i}");
        }

        long first = PagesBytes(received[0]), last = PagesBytes(received[2]);
        Assert.True(last < first / 2, $"the last snapshot of the chain has {last} bytes of pages, the first {first}: nothing was left to it");
        Images.Join(dumped, received[2]);
        live.Restore(restores, received[2]);
        live.Check("after the restore");
        live.Stop();
    }

    [Fact]
    public void Dump_ThatLeavesItRunning_SendsAndGoesOn()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string dumped = live.NewImages("dumped"), received = live.NewImages("received");
        Send(live, Engine.Ours, Engine.Ours, dumped, received, "-R");
        live.Check("after a dump that leaves it running");
        Images.Join(dumped, received);
        ProcessTable.Kill(live.Processes);
        live.Restore(Engine.Ours, received);
        live.Check("after the restore");
        live.Stop();
    }

    [Fact]
    public void Server_InTheBackground_IsReadyWhenItsStarterEnds()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string dumped = live.NewImages("dumped"), received = live.NewImages("received");
        int port = Machine.FreePort();
        string pidFile = Path.Combine(received, "pid"), log = Path.Combine(received, "page-server.log");
        Command started = Command.Run(Engine.Ours.Program,
            ["page-server", "-D", received, "--port", $"{port}", "--daemon", "--pidfile", pidFile, "-v4", "-o", log], Engine.Limit);
        Assert.True(started.ExitCode == 0, started.Output);
        int pid = int.Parse(File.ReadAllText(pidFile));
        Assert.True(Directory.Exists($"/proc/{pid}"), "the server whose pid is in the pid file is not there");
        live.Dump(Engine.Ours, dumped, "--page-server", "--address", "localhost", "--port", $"{port}");
        ProcessTable.WaitGone([pid], TimeSpan.FromSeconds(10), "the page server has served");
        Images.Join(dumped, received);
        live.Restore(Engine.Ours, received);
        live.Check("after the restore");
        live.Stop();
    }

    [Fact]
    public void Server_InTheBackgroundThatCannotListen_SaysSo()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string first = live.NewImages("first"), second = live.NewImages("second");
        int port = Machine.FreePort();
        using Server server = Server.AtPort(Engine.Ours, "page-server", first, port);
        Failures.EngineRun.Refuses(["page-server", "-D", second, "--address", "127.0.0.1", "--port", $"{port}", "--daemon", "--pidfile", Path.Combine(second, "pid")], "CP1403", $"port {port}", "in use");
        Assert.False(File.Exists(Path.Combine(second, "pid")), "a server that failed left its pid file behind");
    }

    [Fact]
    public void Server_WithStatusFd_WritesAZeroByte()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string dumped = live.NewImages("dumped"), received = live.NewImages("received");
        int port = Machine.FreePort();
        string ready = Path.Combine(received, "ready");
        const string script = """ready=$1; shift; exec "$@" 7>"$ready" """;
        Command? ended = null;
        var server = new Thread(() => ended = Command.Run("/bin/sh",
            ["-c", script, "sh", ready, Engine.Ours.Program, "page-server", "-D", received, "--address", "127.0.0.1", "--port", $"{port}", "--status-fd", "7"], Engine.Limit));
        server.Start();
        Assert.True(SpinWait.SpinUntil(() => File.Exists(ready) && new FileInfo(ready).Length == 1, Engine.Limit), "nothing is written to --status-fd");
        Assert.Equal([0], File.ReadAllBytes(ready));
        live.Dump(Engine.Ours, dumped, "--page-server", "--address", "127.0.0.1", "--port", $"{port}");
        server.Join();
        Assert.Equal(0, ended!.ExitCode);
        Images.Join(dumped, received);
        live.Restore(Engine.Ours, received);
        live.Check("after the restore");
        live.Stop();
    }

    /// <summary>Dumps to a page server that is started for it.</summary>
    private static void Send(LiveTree live, Engine dumps, Engine serves, string dumped, string received, params string[] options)
    {
        int port = Machine.FreePort();
        using Server server = Server.AtPort(serves, "page-server", received, port);
        live.Dump(dumps, dumped, ["--page-server", "--address", "127.0.0.1", "--port", $"{port}", .. options]);
        server.ExpectSuccess();
    }

    internal static (Engine Dumps, Engine Serves, Engine Restores) Engines(string way)
    {
        Engine[] engines = [.. way.Split('-').Select(name => name == "ours" ? Engine.Ours : Engine.Peer)];
        return (engines[0], engines[1], engines[2]);
    }

    internal static IEnumerable<string> Asked(IEnumerable<string> ways) =>
        ways.Where(way => Machine.PeerMode is not ("0" or "") || !way.Contains("peer", StringComparison.Ordinal));

    private static long PagesBytes(string directory) =>
        Directory.EnumerateFiles(directory, "pages-*.img").Sum(file => new FileInfo(file).Length);
}
