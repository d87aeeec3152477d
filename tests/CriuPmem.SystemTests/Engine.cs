namespace CriuPmem.SystemTests;

/// <summary>A checkpoint engine with CRIU's command line: ours, or the peer.</summary>
internal sealed record Engine(string Name, string Program)
{
    public static Engine Ours { get; } = new("ours",
        Environment.GetEnvironmentVariable("CRIU_PMEM") ?? Path.Combine(Machine.Top, "artifacts", "criu-pmem"));

    public static Engine Peer { get; } = new("peer", Path.Combine(Machine.PeerPrefix, "bin", "criu"));

    public static TimeSpan Limit { get; } = TimeSpan.FromSeconds(60);

    public void Dump(int pid, string images, IEnumerable<string> options) =>
        Run("dump", images, ["-t", pid.ToString(), .. options]);

    public void PreDump(int pid, string images, IEnumerable<string> options) =>
        Run("pre-dump", images, ["-t", pid.ToString(), .. options]);

    public void Restore(string images, IEnumerable<string> options) => Run("restore", images, ["-d", .. options]);

    private void Run(string verb, string images, IEnumerable<string> options)
    {
        string log = Path.Combine(images, verb + ".log");
        Command command = Command.Run(Program, [verb, "-D", images, "-v4", "-o", log, .. options], Limit);
        if (command.TimedOut)
            throw new EngineFailure($"{Name} {verb} did not end within {Limit.TotalSeconds:0} s.\n{Tail(log)}");
        if (command.ExitCode != 0)
        {
            throw new EngineFailure(
                $"{Name} {verb} exits with {command.ExitCode}: {command.Output.Trim()}\n{Tail(log)}");
        }
    }

    /// <summary>The errors and the end of a log.</summary>
    public static string Tail(string log)
    {
        if (!File.Exists(log))
            return $"(no log {Path.GetFileName(log)})";
        string[] lines = File.ReadAllLines(log);
        IEnumerable<string> errors = lines.Where(line => line.Contains("Error", StringComparison.Ordinal));
        return string.Join('\n', [.. errors.Take(20), "-- end of the log:", .. lines.TakeLast(12)]);
    }
}
