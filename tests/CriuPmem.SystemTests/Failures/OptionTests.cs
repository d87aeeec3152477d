namespace CriuPmem.SystemTests.Failures;

/// <summary>Mistakes on the command line are answered with one line that says what to write instead.</summary>
public sealed class OptionTests
{
    [Theory]
    [InlineData("--imges-dir", "Did you mean --images-dir?")]
    [InlineData("--leave-runing", "Did you mean --leave-running?")]
    [InlineData("-leave-running", "Did you mean --leave-running?")]
    [InlineData("--timeout=soon", "--timeout")]
    [InlineData("--tree=zero", "not a pid")]
    [InlineData("--ghost-limit=lots", "not a size")]
    [InlineData("--cpu-cap=gpu", "fpu")]
    [InlineData("--ex", "--external")]
    [InlineData("-Z", "--help")]
    [InlineData("1234", "-t 1234")]
    public void Mistake_IsAnsweredWithWhatToWrite(string argument, string expected)
    {
        Command command = EngineRun.Run("dump", argument);
        Assert.Equal(1, command.ExitCode);
        string line = Assert.Single(command.Output.Trim().Split('\n'));
        Assert.Contains(expected, line, StringComparison.Ordinal);
        Assert.Contains("[CP1006]", line, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--track-mem")]
    [InlineData("--prev-images-dir=../first")]
    public void TwinsInAChain_AreRefused(string option) =>
        EngineRun.Refuses(["dump", "-t", "4194303", "-R", "--live-mode=twins", option], "CP1006", "twins", "copy");

    [Theory]
    [InlineData("dmp", "Did you mean dump?")]
    [InlineData("resume", "dump, restore and check")]
    public void UnknownCommand_IsAnsweredWithTheRightOne(string command, string expected) =>
        EngineRun.Refuses([command], "CP1006", expected);

    [Theory]
    [InlineData("leave-running=no", false)]
    [InlineData("leave-running=off", false)]
    [InlineData("leave-running no", false)]
    [InlineData("leave-running # no", true)]
    [InlineData("leave-running=1", true)]
    [InlineData("leave-running", true)]
    [InlineData("leave-running=YES", true)]
    [InlineData("no-leave-running", false)]
    public void ConfigurationFile_Flag_HasItsValue(string line, bool stays)
    {
        using var live = new LiveWorkload(Workload.Named("mem_brk"));
        string images = live.NewImages("images"), config = Path.Combine(live.Home, "conf");
        File.WriteAllText(config, line + "\n");
        List<int> tree = live.Processes();
        Assert.Equal(0, EngineRun.Run("dump", "--config", config, "-t", $"{live.Pid}", "-D", images).ExitCode);
        if (!stays)
        {
            ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
            live.Restore(Engine.Ours, images);
        }

        live.Check("after a dump");
        live.Stop();
    }

    [Fact]
    public void ConfigurationFile_FlagWithAnotherValue_IsRefused()
    {
        string config = Path.Combine(Machine.Scratch, "conf.maybe");
        File.WriteAllText(config, "leave-running=maybe\n");
        EngineRun.Refuses(["dump", "--config", config, "-t", "4194303"], "CP1006", "maybe", "neither yes nor no");
    }

    /// <summary>Every option in the peer's own help is known to us: it works, or is refused in one line.</summary>
    [Fact]
    public void PeerOption_IsKnown()
    {
        if (Machine.PeerMode is "0" or "")
            Assert.Skip("needs the peer");
        string help = Command.Run(Engine.Peer.Program, ["--help"], Engine.Limit).Output;
        // These are our answer to no option at all, or no options but examples in its text.
        string[] examples = ["--no-display-stats"];
        var options = System.Text.RegularExpressions.Regex.Matches(help, "--[a-z][a-z-]*[a-z]")
            .Select(match => match.Value).Distinct().Except(examples).ToList();
        Assert.True(options.Count > 60, $"only {options.Count} options in the peer's help");
        foreach (string option in options)
        {
            Command command = EngineRun.Run("dump", option + "=");
            Assert.DoesNotContain("no such option", command.Output, StringComparison.Ordinal);
            Assert.Single(command.Output.Trim().Split('\n'));
        }
    }

    [Theory]
    [InlineData("--weak-sysctls")]
    public void PeerOption_NotBuilt_IsRefusedInOneLine(string option)
    {
        Command command = EngineRun.Run("dump", "-t", "4194303", option);
        Assert.Equal(1, command.ExitCode);
        string line = Assert.Single(command.Output.Trim().Split('\n'));
        Assert.Contains("[CP1007]", line, StringComparison.Ordinal);
        Assert.Contains(option.Split('=')[0], line, StringComparison.Ordinal);
    }
}
