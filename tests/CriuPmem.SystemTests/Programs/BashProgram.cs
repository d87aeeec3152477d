namespace CriuPmem.SystemTests.Programs;

/// <summary>A shell with job control: a pipeline in the background, a stopped job, variables, a foreground loop.</summary>
internal sealed class BashProgram : TerminalProgram
{
    private readonly string _numbers;
    private int _round;

    public BashProgram(string[] options) : base("prog_bash", options)
    {
        _numbers = Path.Combine(Home, "numbers");
        Launch("PS1='INNER''> ' bash --norc --noprofile -i");
        Terminal.Expect("INNER> ", 0);
        Terminal.Type("declare -A seen; rounds=0\n");
        // Each writes what it gets, so that a number lost or doubled in one of the pipes shows.
        Terminal.Type("(i=0; while sleep 0.01; do echo $((i++)); done) | sed -u 's/$/ passed/' "
            + $"| while read line; do echo \"$line\"; done >{_numbers} &\n");
        int now = Terminal.Mark;
        Terminal.Type("sleep 1000\n");
        WaitFor("sleep", () => Processes().Count >= 6);
        Thread.Sleep(100);
        Terminal.Type("\u001a"); // Ctrl-Z
        Terminal.Expect("Stopped", now);
    }

    /// <inheritdoc />
    public override void Check(string when)
    {
        _round++;
        Ask($"seen[$rounds]=yes; rounds=$((rounds + 1)); echo \"$rounds rounds, ${{#seen[@]}} seen.\"",
            $"{_round} rounds, {_round} seen.");
        Ask("jobs -s", "Stopped");
        Ask("jobs -r", "Running");
        Ask("fg %2", "sleep 1000");
        int now = Terminal.Mark;
        Thread.Sleep(50);
        Terminal.Type("\u001a");
        Terminal.Expect("Stopped", now);
        int lines = CountNumbers(when);
        WaitFor("more of the pipeline", () => CountNumbers(when) > lines + 3);
    }

    /// <summary>All but the short sleeps of the pipeline's source.</summary>
    public override List<int> LastingProcesses()
    {
        List<int> now = Processes();
        Thread.Sleep(80);
        return [.. now.Intersect(Processes())];
    }

    /// <inheritdoc />
    protected override void RequestStop()
    {
        Terminal.Type("kill -9 %1 %2; kill -9 %2\n");
        Terminal.Type("exit\nexit\n");
    }

    private void Ask(string command, string answer)
    {
        int now = Terminal.Mark;
        Terminal.Type(command + "\n");
        Terminal.Expect(answer, now);
    }

    private int CountNumbers(string when)
    {
        string[] lines = File.ReadAllLines(_numbers);
        for (int i = 0; i < lines.Length - 1; i++) // the last may be in the making
        {
            if (lines[i] != $"{i} passed")
                throw new WorkloadFailure($"{Name} {when}: line {i} of the pipeline is \"{lines[i]}\"");
        }

        return lines.Length;
    }
}
