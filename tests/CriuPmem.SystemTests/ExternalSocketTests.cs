using CriuPmem.SystemTests.Failures;

namespace CriuPmem.SystemTests;

/// <summary>UNIX sockets connected to a server outside of the tree (--external unix[INODE], --ext-unix-sk, --inherit-fd).</summary>
public sealed class ExternalSocketTests
{
    private static readonly Workload Program = new("sk_unix_external", "1");

    public static IEnumerable<TheoryDataRow<string>> Directions() => ExternalTests.Directions();

    [Theory]
    [MemberData(nameof(Directions))]
    public void Server_ConnectedToAgain_PairGivenAnew(string direction) => KnownGaps.Run("external_unix", direction, () =>
    {
        Direction who = Direction.Named(direction);
        // The peer's restore crashes on a connection to a socket without a name.
        using var live = new LiveWorkload(new Workload("sk_unix_external", who.Restores == Engine.Peer ? "1 1" : "1"));
        live.Check("before the dump");
        (string[] options, string pair) = Options(live);
        string images = Dump(live, who.Dumps, options);
        Restore(live, who.Restores, images, pair);
        live.Check("after the restore");
        live.Stop();
    });

    [Fact]
    public void NothingAllowed_DumpRefused()
    {
        using var live = new LiveWorkload(Program);
        EngineRun.DumpRefuses(live, live.NewImages("images"), "CP1208", "--external 'unix[");
        live.Stop();
    }

    [Fact]
    public void DatagramsAllowed_StreamRefused()
    {
        using var live = new LiveWorkload(Program);
        live.Check("before the dump");
        EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", live.NewImages("images"), "-x"], "CP1208", "--external 'unix[");
        live.Check("after a dump that failed");
        live.Stop();
    }

    [Fact]
    public void NothingGiven_RestoreRefused()
    {
        using var live = new LiveWorkload(Program);
        live.Check("before the dump");
        (string[] options, string pair) = Options(live);
        string images = Dump(live, Engine.Ours, options);
        EngineRun.Refuses(["restore", "-d", "-D", images], "CP1208", $"--inherit-fd 'fd[N]:{pair}'");
        live.ExpectGone("after a restore that was refused");
        Restore(live, Engine.Ours, images, pair);
        live.Check("after the restore");
        live.Stop();
    }

    [Fact]
    public void ServerGone_RestoreRefused()
    {
        using var live = new LiveWorkload(Program);
        live.Check("before the dump");
        (string[] options, string pair) = Options(live);
        string images = Dump(live, Engine.Ours, options);
        File.Move(Path.Combine(live.Home, "server"), Path.Combine(live.Home, "server.away"));
        Command command = TryRestore(live, Engine.Ours, images, pair, "server.away");
        Assert.Equal(1, command.ExitCode);
        string log = Engine.Tail(Path.Combine(images, "restore.log"));
        Assert.Contains("[CP1208]", log, StringComparison.Ordinal);
        Assert.Contains("/server outside of the snapshot, and cannot be again: No such file", log, StringComparison.Ordinal);
        live.ExpectGone("after a restore without its server");
        File.WriteAllText(Path.Combine(live.Home, "stop"), "");
    }

    /// <summary>The options of a dump, and what the pair is called.</summary>
    private static (string[] Options, string Pair) Options(LiveWorkload live)
    {
        string[] numbers = [.. File.ReadAllText(Path.Combine(live.Home, "numbers")).Trim().Split(' ').Where(number => number != "-1")];
        string[] inodes = [.. numbers.Select(number => Path.GetFileName(new FileInfo($"/proc/{live.Pid}/fd/{number}").LinkTarget!).Split('[', ']')[1])];
        return (["--external", $"unix[{inodes[0]}]", "--external", $"unix[{inodes[^1]}]", "--ext-unix-sk"], inodes.Length > 2 ? $"socket[{inodes[2]}]" : "socket[1]");
    }

    private static string Dump(LiveWorkload live, Engine engine, params string[] options)
    {
        string images = live.NewImages("images");
        int root = live.Pid;
        live.Dump(engine, images, options);
        ProcessTable.WaitGone([root], TimeSpan.FromSeconds(10), $"{engine.Name} dump");
        return images;
    }

    // A new connection to the same server takes the place of the pair.
    private static void Restore(LiveWorkload live, Engine engine, string images, string pair)
    {
        Command command = TryRestore(live, engine, images, pair, "server");
        Assert.True(command.ExitCode == 0, $"{engine.Name} restore: {command.Output}{Engine.Tail(Path.Combine(images, "restore.log"))}");
    }

    private static Command TryRestore(LiveWorkload live, Engine engine, string images, string pair, string server)
    {
        const string script = """
            import os, socket, sys
            given = socket.socket(socket.AF_UNIX)
            given.connect(sys.argv[4])
            os.dup2(given.fileno(), 7)
            given.setblocking(False)
            os.execv(sys.argv[1], [sys.argv[1], "restore", "-d", "-D", sys.argv[2], "-v4", "-o", "restore.log", "-x", "--inherit-fd", "fd[7]:" + sys.argv[3]])
            """;
        return Command.Run("/usr/bin/python3", ["-c", script, engine.Program, images, pair, server], Engine.Limit, directory: live.Home);
    }
}
