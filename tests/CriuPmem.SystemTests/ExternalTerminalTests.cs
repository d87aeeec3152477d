using CriuPmem.SystemTests.Failures;

namespace CriuPmem.SystemTests;

/// <summary>A terminal whose window is outside of the tree (--external tty[RDEV:DEV]), and another in its place (--inherit-fd).</summary>
public sealed class ExternalTerminalTests
{
    private static readonly Workload Program = new("tty_external", "1");

    public static IEnumerable<TheoryDataRow<string>> Directions() => ExternalTests.Directions();

    [Theory]
    [MemberData(nameof(Directions))]
    public void Terminal_GivenAnew(string direction) => KnownGaps.Run("external_tty", direction, () =>
    {
        Direction who = Direction.Named(direction);
        // What is given to the peer keeps its own status flags.
        using var live = new LiveWorkload(new Workload("tty_external", who.Restores == Engine.Peer ? "1" : "1 1"));
        live.Check("before the dump");
        (string key, string other) = Terminals(live);
        string images = live.NewImages("images");
        int root = live.Pid;
        live.Dump(who.Dumps, images, "--external", key);
        ProcessTable.WaitGone([root], TimeSpan.FromSeconds(10), $"{who.Dumps.Name} dump");
        if (who.Restores == Engine.Ours)
            EngineRun.Refuses(["restore", "-d", "-D", images], "CP1208", $"--inherit-fd 'fd[N]:{key}'");
        const string script = """exec "$1" restore -d -D "$2" -v4 -o restore.log --inherit-fd "fd[7]:$3" 7<>"$4" """;
        Command command = Command.Run("/bin/sh", ["-c", script, "sh", who.Restores.Program, images, key, other], Engine.Limit);
        Assert.True(command.ExitCode == 0, $"{who.Restores.Name} restore: {command.Output}{Engine.Tail(Path.Combine(images, "restore.log"))}");
        live.Check("after the restore");
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (Screen(live, "screen2") != "round 2\n" && clock.Elapsed < TimeSpan.FromSeconds(5))
            Thread.Sleep(2);
        Assert.Equal("round 2\n", Screen(live, "screen2"));
        Assert.Equal("round 1\n", Screen(live, "screen"));
        live.Stop();
    });

    [Fact]
    public void NothingAllowed_DumpRefused()
    {
        using var live = new LiveWorkload(Program);
        EngineRun.DumpRefuses(live, live.NewImages("images"), "CP1105", $"--external '{Terminals(live).Key}'");
        live.Stop();
    }

    private static string Screen(LiveWorkload live, string name) => File.ReadAllText(Path.Combine(live.Home, name));

    /// <summary>How the terminal is called, and the path of another one.</summary>
    private static (string Key, string Other) Terminals(LiveWorkload live)
    {
        string[] paths = File.ReadAllText(Path.Combine(live.Home, "terminals")).Trim().Split(' ');
        Command stat = Command.Run("/usr/bin/stat", ["-c", "%t %T %D", paths[0]], Engine.Limit);
        string[] numbers = stat.Output.Trim().Split(' '); // major and minor of the terminal, and the device it lies on
        long rdev = Convert.ToInt64(numbers[0], 16) << 8 | Convert.ToInt64(numbers[1], 16);
        return ($"tty[{rdev:x}:{numbers[2]}]", paths[1]);
    }
}
