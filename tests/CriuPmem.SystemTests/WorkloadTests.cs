namespace CriuPmem.SystemTests;

/// <summary>Every workload, dumped and restored in every direction, several rounds in a row.</summary>
public sealed class WorkloadTests
{
    public static IEnumerable<TheoryDataRow<string, string>> Matrix()
    {
        foreach (Workload workload in Workload.All)
        {
            foreach (Direction direction in Direction.Asked)
                yield return new(workload.Name, direction.Name) { TestDisplayName = $"{workload.Name} {direction.Name}" };
        }
    }

    [Theory]
    [MemberData(nameof(Matrix))]
    public void Workload_DumpedAndRestored_FindsItselfUnchanged(string workload, string direction) =>
        KnownGaps.Run(workload, direction, () => Rounds(Workload.Named(workload), Direction.Named(direction)));

    private static void Rounds(Workload workload, Direction direction)
    {
        using var live = new LiveWorkload(workload);
        live.Check("before the first dump");
        int rounds = Machine.Quick ? 1 : workload.Rounds;
        for (int round = 1; round <= rounds; round++)
        {
            if (direction.LeaveRunning)
                DumpAndLeave(live, direction, round);
            else
                DumpAndRestore(live, direction, round);
        }

        live.Stop();
    }

    private static void DumpAndRestore(LiveWorkload live, Direction direction, int round)
    {
        string images = live.NewImages($"images.{round}");
        List<int> before = live.Processes();
        direction.Dumps.Dump(live.Pid, images, live.Workload.OptionList);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), $"{direction.Dumps.Name} dump, round {round}");
        if (round == 1 && direction.Dumps == Engine.Ours && Machine.PeerMode is not ("0" or ""))
            Crit.DecodeAll(images);
        direction.Restores.Restore(images, live.Workload.OptionList);
        Assert.Equal(before, live.Processes());
        live.Check($"after restore {round}");
    }

    private static void DumpAndLeave(LiveWorkload live, Direction direction, int round)
    {
        string images = live.NewImages($"images.{round}");
        List<int> before = live.Processes();
        direction.Dumps.Dump(live.Pid, images, ["-R", .. live.Workload.OptionList]);
        Assert.Equal(before, live.Processes());
        live.Check($"after dump {round} that leaves it running");
        Assert.True(File.Exists(Path.Combine(images, "inventory.img")), "dump -R wrote no inventory");
    }
}
