using System.Net.Sockets;
using CriuPmem.SystemTests.Failures;

namespace CriuPmem.SystemTests.Remote;

/// <summary>Restores whose memory comes through a lazy-pages daemon, from images or from the machine where the program was; engines in every mixture.</summary>
public sealed class LazyPagesTests
{
    // Not mem_cow_fork: a daemon fills every process by itself, so that none shares pages with its parent any more.
    private static readonly string[] s_workloads = ["mem_anon", "mem_brk", "mem_thp", "mem_mlock_madv", "mem_file_private", "tree_shapes", "threads_basic"];

    /// <summary>Who dumps, whose daemon fills, who restores.</summary>
    public static TheoryData<string, string> LocalWays()
    {
        var data = new TheoryData<string, string>();
        foreach (string workload in s_workloads)
        {
            foreach (string way in PageServerTests.Asked(["ours-ours-ours", "ours-peer-ours", "ours-ours-peer", "peer-ours-peer", "peer-peer-ours"]))
                data.Add(workload, way);
        }

        return data;
    }

    public static TheoryData<string> RemoteWays() => [.. PageServerTests.Asked(["ours-ours-ours", "ours-peer-ours", "ours-ours-peer", "ours-peer-peer"])];

    [Theory]
    [MemberData(nameof(LocalWays))]
    public void Restore_FromImages_IsFilled(string workload, string way)
    {
        (Engine dumps, Engine fills, Engine restores) = PageServerTests.Engines(way);
        if (fills == Engine.Peer && workload == "tree_shapes")
            Assert.Skip("the peer cannot: its daemon tries for ever to fill a page that is there already (EEXIST), and with many processes one is sooner or later");
        using var live = new LiveWorkload(Workload.Named(workload));
        live.Check("before the dump");
        string images = live.NewImages("images");
        List<int> before = live.LastingProcesses();
        live.Dump(dumps, images);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), $"{dumps.Name} dump");
        using Server daemon = Daemon(fills, images);
        live.Restore(restores, images, "--lazy-pages");
        if (!LazyPager.Seeing.Contains(workload))
            live.Check("after the restore");
        daemon.ExpectSuccess();
        WaitQuiet(live);
        live.Check("after all memory came");
        live.Stop();
    }

    /// <summary>The dump keeps lazy memory, and the tree standing still, until the daemon has fetched all of it.</summary>
    [Theory]
    [MemberData(nameof(RemoteWays))]
    public void Dump_ThatIsFetched_EndsWhereItWas(string way)
    {
        (Engine dumps, Engine fills, Engine restores) = PageServerTests.Engines(way);
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        live.Check("before the dump");
        string images = live.NewImages("images");
        List<int> before = live.LastingProcesses();
        int port = Machine.FreePort();
        using Server dump = Server.AtPort(dumps, "dump", images, port, "-t", $"{live.Pid}", "--lazy-pages");
        long saved = Directory.EnumerateFiles(images, "pages-*.img").Sum(file => new FileInfo(file).Length);
        Assert.True(saved < 4 << 20, $"{saved} bytes of pages are in the images, which were to stay with the dump");
        using Server daemon = Daemon(fills, images, "--page-server", "--address", "127.0.0.1", "--port", $"{port}");
        RestoreElsewhere(restores, images);
        daemon.ExpectSuccess();
        dump.ExpectSuccess();
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "the dump was fetched");
        live.Check("after all memory came");
        live.Stop();
    }

    /// <summary>Our page server gives out the pages of a snapshot. (The peer's ends at a request that does not begin a buffer of its.)</summary>
    [Theory]
    [MemberData(nameof(RemoteWays))]
    public void PageServer_ThatServes_IsFetchedFrom(string way)
    {
        (Engine dumps, Engine fills, Engine restores) = PageServerTests.Engines(way);
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        List<int> before = live.LastingProcesses();
        live.Dump(dumps, images);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), $"{dumps.Name} dump");
        int port = Machine.FreePort();
        using Server server = Server.AtPort(Engine.Ours, "page-server", images, port, "--lazy-pages");
        using Server daemon = Daemon(fills, images, "--page-server", "--address", "127.0.0.1", "--port", $"{port}");
        live.Restore(restores, images, "--lazy-pages");
        live.Check("after the restore");
        daemon.ExpectSuccess();
        server.ExpectSuccess();
        live.Stop();
    }

    [Fact]
    public void Restore_WithoutDaemon_Refuses()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images);
        EngineRun.Refuses(["restore", "-d", "-D", images, "--lazy-pages"], "CP1500", "no lazy-pages daemon", "lazy-pages");
        live.ExpectGone("after a restore that was refused");
        live.Restore(Engine.Ours, images);
        live.Check("after the next restore");
        live.Stop();
    }

    /// <summary>Missing pages would read as zeros: so the tree ends with the daemon that has them.</summary>
    [Fact]
    public void DaemonKilled_TreeEnds_AndSeesNoZeros()
    {
        using var live = new LiveWorkload(new Workload("mem_churn", "400"));
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images);
        using Server daemon = Daemon(Engine.Ours, images);
        live.Restore(Engine.Ours, images, "--lazy-pages", "--action-script", EngineRun.Script(live, "post-restore", $"kill -STOP {daemon.Pid}"));
        File.WriteAllText(Path.Combine(live.Home, "check.1"), ""); // it looks at all its pages, and waits for the first that is missing
        List<int> tree = ProcessTable.InSession(live.Pid); // their mark lies in memory that is missing
        Assert.Contains(live.Pid, tree);
        LazyPager.Signal("KILL", daemon.Pid);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "the daemon was killed");
        Assert.False(File.Exists(Path.Combine(live.Home, "result.1")), "it came to an end with pages missing");
    }

    [Fact]
    public void RestoreThatFails_EndsItsDaemon()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images);
        using Server daemon = Daemon(Engine.Ours, images);
        EngineRun.Refuses(["restore", "-d", "-D", images, "--lazy-pages", "--action-script", EngineRun.Script(live, "post-restore", "exit 1")], "CP1005", "post-restore");
        Assert.Equal(1, daemon.ExitCode);
        Assert.Contains("[CP1501]", daemon.LastLine, StringComparison.Ordinal);
        live.ExpectGone("after a restore that failed");
        Assert.False(File.Exists(Path.Combine(images, "lazy-pages.socket")), "the daemon left its socket behind");
    }

    /// <summary>A daemon that is there, and takes nothing: the restore gives up after a while, and leaves nothing.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void DaemonThatDoesNotAnswer_IsNotWaitedForForEver(bool accepts)
    {
        using var live = new LiveWorkload(Workload.Named("tree_shapes"));
        string images = live.NewImages("images");
        List<int> tree = live.Processes();
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        string socket = Path.Combine(images, "lazy-pages.socket");
        using (var daemon = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            daemon.Bind(new UnixDomainSocketEndPoint(socket));
            daemon.Listen(0);
            using var first = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            if (!accepts) first.Connect(new UnixDomainSocketEndPoint(socket)); // so that there is no room for another
            EngineRun.Refuses(["restore", "-d", "-D", images, "--lazy-pages", "--timeout", "2"], "CP1004", "lazy-pages daemon", "did not answer within 2 s", "--timeout");
        }

        live.ExpectGone("after a restore that gave up");
        File.Delete(socket);
        live.Restore(Engine.Ours, images);
        live.Check("restored without a daemon");
        live.Stop();
    }

    /// <summary>One that takes all, and waits itself for a page server that says nothing, keeps a restore waiting where a task needs a page.</summary>
    [Fact]
    public void DaemonThatFillsNothing_IsNotWaitedForForEver()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        List<int> tree = live.Processes();
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        using var silent = new TcpListener(System.Net.IPAddress.Loopback, 0);
        silent.Start(); // the kernel takes the connection, nobody else does
        int port = ((System.Net.IPEndPoint)silent.LocalEndpoint).Port;
        using (Server daemon = Daemon(Engine.Ours, images, "--page-server", "--address", "127.0.0.1", "--port", $"{port}"))
        {
            EngineRun.Refuses(["restore", "-d", "-D", images, "--lazy-pages", "--timeout", "2"], "CP1004", $"lazy-pages daemon (process {daemon.Pid})", "page server", "--timeout");
            Assert.Empty(ProcessTable.InSession(live.Pid));
        }

        live.Restore(Engine.Ours, images);
        live.Check("restored without a daemon");
        live.Stop();
    }

    /// <summary>A source that goes before anybody has asked for a page is missed at once, not when a restore comes.</summary>
    [Fact]
    public void SourceThatEnds_EndsTheDaemonThatWaits()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        int port = Machine.FreePort();
        using Server dump = Server.AtPort(Engine.Ours, "dump", images, port, "-t", $"{live.Pid}", "--lazy-pages");
        string rest = CopyOf(live, images);
        using Server daemon = Daemon(Engine.Ours, rest, "--page-server", "--address", "127.0.0.1", "--port", $"{port}");
        LazyPager.Signal("INT", dump.Pid);
        Assert.Equal(128 + 2, dump.ExitCode);
        Assert.Equal(1, daemon.ExitCode);
        string line = daemon.LastLine;
        Assert.Contains("[CP1501]", line, StringComparison.Ordinal);
        Assert.Contains("before a restore came", line, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(rest, "lazy-pages.socket")), "the daemon left its socket behind");
        live.Check("after its dump was interrupted");
        live.Stop();
    }

    /// <summary>A daemon that cannot fill takes the tree with it; the restore says so, and no guardian is left.</summary>
    [Fact]
    public void DaemonThatLosesItsSource_IsToldByTheRestore_AndItsGuardianEnds()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        int port = Machine.FreePort();
        using Server dump = Server.AtPort(Engine.Ours, "dump", images, port, "-t", $"{live.Pid}", "--lazy-pages");
        string rest = CopyOf(live, images);
        using Server daemon = Daemon(Engine.Ours, rest, "--page-server", "--address", "127.0.0.1", "--port", $"{port}");
        LazyPager.Signal("STOP", daemon.Pid); // it learns of it when the restore is in its hands
        LazyPager.Signal("INT", dump.Pid);
        Assert.Equal(128 + 2, dump.ExitCode);
        List<int> tree = live.Processes();
        foreach (int pid in tree) LazyPager.Signal("KILL", pid);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "it was killed");
        string log = Path.Combine(rest, "restore.log");
        var waker = new Thread(() =>
        {
            SpinWait.SpinUntil(() => File.Exists(log) && File.ReadAllText(log).Contains("left to the lazy-pages daemon", StringComparison.Ordinal), Engine.Limit);
            LazyPager.Signal("CONT", daemon.Pid);
        });
        waker.Start();
        string line = EngineRun.Refuses(["restore", "-d", "-D", rest, "--lazy-pages", "-v4", "-o", log], "CP1501", "lazy-pages daemon ended", "its memory could not be filled");
        waker.Join();
        Assert.DoesNotContain("signal 9", line, StringComparison.Ordinal);
        Assert.Equal(1, daemon.ExitCode);
        Assert.Contains("[CP1501]", daemon.LastLine, StringComparison.Ordinal);
        live.ExpectGone("after a restore that lost its daemon");
        LazyPager.WaitGone(rest);
    }

    /// <summary>A dump whose memory cannot be fetched is none: the program goes on, and the images are gone.</summary>
    [Theory]
    [InlineData(null, "CP1501")]
    [InlineData("0900000000000000010000000000000000100000000000000100000000000000", "CP1502")]
    [InlineData("0700000000000000010000000000000000100000000000000100000000000000", "CP1502")]
    public void Dump_ThatCannotBeFetched_LeavesTheProgram(string? message, string code)
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        int port = Machine.FreePort();
        using Server dump = Server.AtPort(Engine.Ours, "dump", images, port, "-t", $"{live.Pid}", "--lazy-pages");
        using (var client = new TcpClient("127.0.0.1", port))
        {
            if (message is not null)
                client.GetStream().Write(Convert.FromHexString(message));
            client.Client.Shutdown(SocketShutdown.Send);
            Assert.Equal(1, dump.ExitCode);
        }

        Assert.Contains($"[{code}]", dump.LastLine, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFiles(images, "*.img"));
        live.Check("after a dump that nobody could fetch");
        live.Stop();
    }

    [Fact]
    public void Restore_OfMemoryThatStayedWithTheDump_Refuses()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        int port = Machine.FreePort();
        using Server dump = Server.AtPort(Engine.Ours, "dump", images, port, "-t", $"{live.Pid}", "--lazy-pages");
        EngineRun.Refuses(["restore", "-d", "-D", images], "CP1301", "left with the dump", "--lazy-pages");
        LazyPager.Signal("TERM", dump.Pid);
        Assert.Equal(128 + 15, dump.ExitCode);
        Assert.Empty(Directory.EnumerateFiles(images, "*.img"));
        live.Check("after a dump that was interrupted");
        live.Stop();
    }

    /// <summary>Waits until who was let go with a stop before him has come to it: he needs a page for that, and a CPU.</summary>
    private static void WaitQuiet(LiveTree live) => SpinWait.SpinUntil(
        () => ProcessTable.InSession(live.Pid).TrueForAll(pid => !ProcessTable.Describe(pid).Contains("R (running)", StringComparison.Ordinal)),
        TimeSpan.FromSeconds(5));

    private static string CopyOf(LiveTree live, string images)
    {
        string rest = live.NewImages("rest");
        Command.Run("/bin/cp", ["-a", images + "/.", rest], Engine.Limit);
        return rest;
    }

    private static Server Daemon(Engine engine, string images, params string[] options) =>
        Server.WithFile(engine, "lazy-pages", images, Path.Combine(images, "lazy-pages.socket"), options);

    /// <summary>Restores in a pid namespace of its own, since the numbers are in use here; it ends with the tree.</summary>
    private static void RestoreElsewhere(Engine engine, string images)
    {
        string done = Path.Combine(images, "restored"), log = Path.Combine(images, "restore.log");
        const string wait = """done=$1; shift; "$@"; code=$?; echo $code >"$done~"; mv "$done~" "$done"; while [ "$(cat /proc/[0-9]*/comm 2>/dev/null | grep -c -v -x -e sh -e sleep -e cat -e grep -e unshare)" -gt 0 ]; do sleep 0.2; done""";
        Command.Run("/bin/sh", ["-c", """setsid unshare -pf --mount-proc sh -c "$0" sh "$@" </dev/null >/dev/null 2>&1 &""", wait, done, engine.Program, "restore", "-d", "-D", images, "--lazy-pages", "-v4", "-o", log], Engine.Limit);
        if (!SpinWait.SpinUntil(() => File.Exists(done), Engine.Limit) || File.ReadAllText(done).Trim() != "0")
            throw new EngineFailure($"{engine.Name} restore --lazy-pages failed.\n{Engine.Tail(log)}");
    }
}
