namespace CriuPmem.SystemTests.Failures;

/// <summary>Trees in which processes are born and die while they are frozen.</summary>
public sealed class ForkingTests
{
    [Fact]
    public void Dump_TreeThatForks_Succeeds()
    {
        using var live = new LiveWorkload(new Workload("tree_forking"));
        int rounds = Machine.Quick ? 15 : 50;
        var refused = new List<string>();
        for (int i = 1; i <= rounds; i++)
        {
            string images = live.NewImages($"images.{i}");
            Command command = EngineRun.Run("dump", "-R", "-t", $"{live.Pid}", "-D", images);
            if (command.ExitCode != 0)
            {
                Assert.Contains("[CP1104]", command.Output, StringComparison.Ordinal);
                refused.Add(command.Output.Trim());
            }

            live.Check($"after dump {i}: {command.Output}");
            Machine.Delete(images);
        }

        Assert.True(refused.Count <= rounds / 20, string.Join('\n', refused));
        for (int round = 1; round <= 3; round++)
        {
            string images = live.NewImages($"away.{round}");
            live.Dump(Engine.Ours, images);
            ProcessTable.WaitGone(live.Processes(), TimeSpan.FromSeconds(10), "dump");
            live.Restore(Engine.Ours, images);
            live.Check($"restored, round {round}");
        }

        live.Stop();
    }

    /// <summary>An engine that is killed leaves its scratch mapping; the next dump takes it away, and does not save it.</summary>
    [Fact]
    public void Dump_AfterAKilledOne_RemovesItsScratch()
    {
        using var live = new LiveWorkload(Workload.Named("threads_basic"));
        string before = Executable(live.Pid);
        string kill = EngineRun.Script(live, "post-dump", "kill -KILL $PPID");
        for (int i = 1; i <= 3; i++)
        {
            Command killed = EngineRun.Run("dump", "-R", "-t", $"{live.Pid}", "-D", live.NewImages($"killed.{i}"), "--action-script", kill);
            Assert.Equal(137, killed.ExitCode);
            live.Check("after a dump that was killed");
        }

        Assert.NotEqual(before, Executable(live.Pid)); // else this shows nothing
        live.Dump(Engine.Ours, live.NewImages("next"), "-R");
        Assert.Equal(before, Executable(live.Pid));
        live.Check("after the next dump");
        EngineRun.Run("dump", "-R", "-t", $"{live.Pid}", "-D", live.NewImages("killed"), "--action-script", kill);
        string images = live.NewImages("images");
        live.Dump(Engine.Ours, images);
        live.Restore(Engine.Ours, images);
        Assert.Equal(before, Executable(live.Pid));
        live.Check("restored");
        live.Stop();
    }

    private static string Executable(int pid) =>
        string.Join('\n', File.ReadAllLines($"/proc/{pid}/maps").Where(line => line.Contains(" rwxp ", StringComparison.Ordinal)));
}
