namespace CriuPmem.SystemTests;

/// <summary>Dumps and restores a tree several times in a row, and has it check itself each time.</summary>
internal static class Rounds
{
    public static void Run(LiveTree live, Direction direction, int rounds)
    {
        live.Check("before the first dump");
        for (int round = 1; round <= rounds; round++)
        {
            live.Settle();
            if (direction.LeaveRunning)
                DumpAndLeave(live, direction, round);
            else
                DumpAndRestore(live, direction, round);
        }

        live.Stop();
    }

    private static void DumpAndRestore(LiveTree live, Direction direction, int round)
    {
        string images = live.NewImages($"images.{round}");
        List<int> before = live.LastingProcesses();
        live.Dump(direction.Dumps, images);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), $"{direction.Dumps.Name} dump, round {round}");
        if (round == 1 && direction.Dumps == Engine.Ours && Machine.PeerMode is not ("0" or ""))
            Crit.DecodeAll(images);
        live.Restore(direction.Restores, images);
        Assert.Equal(before, live.LastingProcesses());
        live.Check($"after restore {round}");
        Machine.Delete(images);
    }

    private static void DumpAndLeave(LiveTree live, Direction direction, int round)
    {
        string images = live.NewImages($"images.{round}");
        List<int> before = live.LastingProcesses();
        live.Dump(direction.Dumps, images, "-R");
        Assert.Equal(before, live.LastingProcesses());
        live.Check($"after dump {round} that leaves it running");
        Assert.True(File.Exists(Path.Combine(images, "inventory.img")), "dump -R wrote no inventory");
        Machine.Delete(images);
    }
}
