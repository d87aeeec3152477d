using System.Globalization;
using CriuPmem.SystemTests.Failures;

namespace CriuPmem.SystemTests;

/// <summary>Files that stay outside of the snapshot (--external), and descriptors given in their places (--inherit-fd).</summary>
public sealed class ExternalTests
{
    private static readonly Workload Program = new("fd_external", "1");

    public static IEnumerable<TheoryDataRow<string>> Directions() =>
        Direction.Asked.Where(direction => !direction.LeaveRunning && direction.Plain == direction.Name).Select(direction => new TheoryDataRow<string>(direction.Name));

    [Theory]
    [MemberData(nameof(Directions))]
    public void FileAndPipe_GivenAnew(string direction) => KnownGaps.Run("external", direction, () =>
    {
        Direction who = Direction.Named(direction);
        using var live = new LiveWorkload(Program);
        live.Check("before the dump");
        (string file, string pipe) = Keys(live);
        string images = Dump(live, who.Dumps, "--external", file);
        // The peer wants the other file to be as long as the first one was.
        File.WriteAllText(Path.Combine(live.Home, "other"), "another\n");
        Restore(live, who.Restores, images, ("other", file), ("through-pipe", pipe));
        live.Check("after the restore");
        Assert.Equal("another\nround 2\n", File.ReadAllText(Path.Combine(live.Home, "other")));
        Assert.Equal("round 1\n", File.ReadAllText(Path.Combine(live.Home, "file")));
        Assert.Equal("round 2\n", File.ReadAllText(Path.Combine(live.Home, "through-pipe")));
        live.Stop();
    });

    [Theory]
    [MemberData(nameof(Directions))]
    public void Path_GivenAnew(string direction) => KnownGaps.Run("external_path", direction, () =>
    {
        Direction who = Direction.Named(direction);
        using var live = new LiveWorkload(Program);
        live.Check("before the dump");
        string pipe = Keys(live).Pipe;
        string images = Dump(live, who.Dumps);
        Restore(live, who.Restores, images, ("other", Path.Combine(live.Home, "file").TrimStart('/')), ("through-pipe", pipe));
        live.Check("after the restore");
        Assert.Equal("round 2\n", File.ReadAllText(Path.Combine(live.Home, "other")));
        live.Stop();
    });

    [Fact]
    public void NothingGiven_Refused()
    {
        using var live = new LiveWorkload(Program);
        live.Check("before the dump");
        (string file, string pipe) = Keys(live);
        string images = Dump(live, Engine.Ours, "--external", file);
        EngineRun.Refuses(["restore", "-d", "-D", images], "CP1208", "--inherit-fd");
        live.ExpectGone("after a restore that was refused");
        Restore(live, Engine.Ours, images, ("other", file), ("through-pipe", pipe));
        live.Check("after the restore");
        live.Stop();
    }

    private static (string File, string Pipe) Keys(LiveWorkload live)
    {
        string[] numbers = File.ReadAllText(Path.Combine(live.Home, "numbers")).Trim().Split(' ');
        string[] info = File.ReadAllLines($"/proc/{live.Pid}/fdinfo/{numbers[0]}");
        long Number(string name) => long.Parse(info.Single(line => line.StartsWith(name, StringComparison.Ordinal))[name.Length..], CultureInfo.InvariantCulture);
        string pipe = new FileInfo($"/proc/{live.Pid}/fd/{numbers[1]}").LinkTarget!;
        return ($"file[{Number("mnt_id:"):x}:{Number("ino:"):x}]", Path.GetFileName(pipe));
    }

    private static string Dump(LiveWorkload live, Engine engine, params string[] options)
    {
        string images = live.NewImages("images");
        List<int> before = live.Processes();
        live.Dump(engine, images, options);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), $"{engine.Name} dump");
        return images;
    }

    private static void Restore(LiveWorkload live, Engine engine, string images, (string Name, string Key) first, (string Name, string Key) second)
    {
        const string script = """cd "$1"; exec "$2" restore -d -D "$3" -v4 -o restore.log --inherit-fd "fd[7]:$5" --inherit-fd "fd[8]:$7" 7>>"$4" 8>>"$6" """;
        Command command = Command.Run("/bin/sh",
            ["-c", script, "sh", live.Home, engine.Program, images, first.Name, first.Key, second.Name, second.Key], Engine.Limit);
        Assert.True(command.ExitCode == 0, $"{engine.Name} restore: {command.Output}{Engine.Tail(Path.Combine(images, "restore.log"))}");
    }
}
