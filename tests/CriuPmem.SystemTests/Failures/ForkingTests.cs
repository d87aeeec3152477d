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
}
