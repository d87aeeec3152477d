using System.Text;

namespace CriuPmem.Bench;

/// <summary>Measures dump and restore side by side with the peer, interleaved, and writes the table of docs/performance.md.</summary>
internal static class Program
{
    private sealed record Sample(double DumpMs, double FrozenMs, double RestoreMs, double PeakMiB, Estimate? Estimated);

    private static int Main(string[] arguments)
    {
        string top = arguments[0];
        var engines = new Engines(Path.Combine(top, "artifacts", "criu-pmem"), arguments[1], Path.Combine(top, "artifacts", "stamp"), Path.Combine(top, "artifacts", "copy"), Path.Combine(top, "artifacts", "disk"));
        Spawn.Helper = Path.Combine(top, "artifacts", "measure");
        string[] wanted = arguments[2..];
        var bars = new List<Bar>();
        var commands = new StringBuilder();
        var estimates = new StringBuilder();
        foreach (Scenario scenario in Scenario.All(Path.Combine(top, "artifacts", "workloads")))
        {
            if (wanted.Length != 0 && !wanted.Contains(scenario.Name))
                continue;
            (string row, string? estimate) = Measure(scenario, engines.Ours, engines.Peer, bars);
            Console.WriteLine(row);
            commands.AppendLine(row);
            if (estimate is null)
                continue;
            Console.WriteLine(estimate);
            estimates.AppendLine(estimate);
        }

        var promises = new StringBuilder();
        foreach (Promise promise in Promise.All(engines))
        {
            if (wanted.Length != 0 && !wanted.Contains(promise.Name))
                continue;
            string row = Measure(promise);
            Console.WriteLine(row);
            promises.AppendLine(row);
        }

        if (wanted.Length != 0)
            return 0; // a selection does not replace the whole tables
        const string head = """
            | | n | dump ms | CRIU | ratio | frozen ms | CRIU | ratio | restore ms | CRIU | ratio | peak MiB | CRIU |
            |---|---|---|---|---|---|---|---|---|---|---|---|---|
            """;
        const string secondHead = """
            | | n | criu-pmem | CRIU | ratio | goal |
            |---|---|---|---|---|---|
            """;
        const string thirdHead = """
            | | dump ms | estimated | | restore ms | estimated | | frozen ms | estimated | |
            |---|---|---|---|---|---|---|---|---|---|
            """;
        string document = Path.Combine(top, "docs", "performance.md");
        string text = Replace(File.ReadAllText(document), "table", $"{head}\n{commands}");
        text = Replace(text, "promises", $"{secondHead}\n{promises}");
        File.WriteAllText(document, Replace(text, "estimates", $"{thirdHead}\n{estimates}"));
        Chart.Write(Path.Combine(top, "docs", "performance.svg"), bars);
        return 0;
    }

    private static string Replace(string text, string name, string table)
    {
        string begin = $"<!-- {name}: written by scripts/bench.sh -->", end = $"<!-- end of {name} -->";
        int from = text.IndexOf(begin, StringComparison.Ordinal) + begin.Length, to = text.IndexOf(end, StringComparison.Ordinal);
        return $"{text[..from]}\n\n{table}\n{text[to..]}";
    }

    private static string Measure(Promise promise)
    {
        var own = new List<double>();
        var theirs = new List<double>();
        string note = "";
        for (int i = 0; i < promise.Repeats; i++)
        {
            note = Try(promise.Ours, own) is { } failure ? $" (not yet: {failure})" : note;
            if (promise.Peer is { } peer && Try(peer, theirs) is { } peerFailure)
                Console.Error.WriteLine($"{promise.Name}: the peer fails: {peerFailure}");
        }

        string Value(double value) => double.IsNaN(value) ? "–" : $"{value:0.0} {promise.Unit}";
        double median = Machine.Median(own), other = Machine.Median(theirs);
        string ratio = double.IsNaN(median) || double.IsNaN(other) ? "–" : $"{other / median:0.0}×";
        string goal = double.IsNaN(promise.Goal) ? promise.GoalText : $"{(promise.AtLeast ? "≥" : "≤")} {promise.Goal:0.#} {promise.Unit}";
        return $"| {promise.Title}{note} | {promise.Repeats} | {Value(median)} | {Value(other)} | {ratio} | {goal} |";
    }

    private static string? Try(Func<double> measure, List<double> samples)
    {
        try
        {
            samples.Add(measure());
            return null;
        }
        catch (InvalidOperationException failure)
        {
            return failure.Message;
        }
    }

    private static (string Row, string? Estimate) Measure(Scenario scenario, string ours, string peer, List<Bar> bars)
    {
        var own = new List<Sample>();
        var theirs = new List<Sample>();
        string? failure = null, peerFailure = scenario.OursAlone ? "not measured" : null;
        for (int i = 0; i < scenario.Repeats; i++)
        {
            if (failure is null)
                failure = Once(scenario, ours, own, estimate: true);
            if (peerFailure is null)
                peerFailure = Once(scenario, peer, theirs, estimate: false);
        }

        if (peerFailure is not null && !scenario.OursAlone)
            Console.Error.WriteLine($"{scenario.Name}: the peer fails: {peerFailure}");
        string Value(List<Sample> samples, Func<Sample, double> of) =>
            samples.Count == 0 || double.IsNaN(Median(samples, of)) ? "–" : $"{Median(samples, of):0.0}";
        string Ratio(Func<Sample, double> of) =>
            own.Count == 0 || theirs.Count == 0 || double.IsNaN(Median(own, of)) ? "–" : $"{Median(theirs, of) / Median(own, of):0.0}×";
        if (own.Count > 0 && theirs.Count > 0)
        {
            bool frozen = scenario.LeaveRunning; // what counts there is how long the program stood still
            bars.Add(new Bar(
                scenario.Title, Median(own, s => frozen ? s.FrozenMs : s.DumpMs) / Median(theirs, s => frozen ? s.FrozenMs : s.DumpMs), Median(own, s => s.RestoreMs) / Median(theirs, s => s.RestoreMs)));
        }

        string[] cells =
        [
            scenario.Title + (failure is null ? "" : $" (not yet: {failure})"), $"{scenario.Repeats}",
            Value(own, s => s.DumpMs), Value(theirs, s => s.DumpMs), Ratio(s => s.DumpMs),
            Value(own, s => s.FrozenMs), Value(theirs, s => s.FrozenMs), Ratio(s => s.FrozenMs),
            Value(own, s => s.RestoreMs), Value(theirs, s => s.RestoreMs), Ratio(s => s.RestoreMs),
            Value(own, s => s.PeakMiB), Value(theirs, s => s.PeakMiB),
        ];
        return ($"| {string.Join(" | ", cells)} |", own.Count == 0 || scenario.LeaveRunning ? null : Estimated(scenario, own));
    }

    private static string Estimated(Scenario scenario, List<Sample> own)
    {
        string Pair(Func<Sample, double> of, Func<Estimate, double> told)
        {
            double measured = Median(own, of), estimated = Machine.Median(own.Select(sample => told(sample.Estimated!)));
            return $"{measured:0.0} | {estimated:0.0} | {(estimated / measured - 1) * 100:+0;-0;0}%";
        }

        return $"| {scenario.Title} | {Pair(s => s.DumpMs, e => e.DumpMs)} | {Pair(s => s.RestoreMs, e => e.RestoreMs)} | {Pair(s => s.FrozenMs, e => e.FrozenMs)} |";
    }

    private static double Median(List<Sample> samples, Func<Sample, double> of) => Machine.Median(samples.Select(of));

    /// <summary>One program, dumped and restored once; returns why it failed, or null.</summary>
    private static string? Once(Scenario scenario, string engine, List<Sample> samples, bool estimate)
    {
        using var folder = new Machine.Folder();
        string images = folder.Make("images");
        int pid = Machine.Start(scenario.CommandLine, folder.Path);
        try
        {
            Machine.Warm(scenario.MemoryBytes);
            Estimate? estimated = estimate ? Estimate.Of(engine, pid, images) : null;
            (TimeSpan dump, long peak, int exit) = Spawn.Run(
                engine, ["dump", "-t", $"{pid}", "-D", images, "-o", "dump.log", .. scenario.LeaveRunning ? (string[])["-R"] : []]);
            if (exit != 0)
                return "dump: " + Machine.FirstError(Path.Combine(images, "dump.log"));
            if (scenario.LeaveRunning)
            {
                samples.Add(new Sample(dump.TotalMilliseconds, StatsFile.FrozenMilliseconds(Path.Combine(images, "stats-dump")), double.NaN, peak / 1048576.0, estimated));
                return null;
            }

            Machine.Until(() => Machine.InSession(pid).Count == 0); // a member keeps the leader's number taken
            double frozen = StatsFile.FrozenMilliseconds(Path.Combine(images, "stats-dump"));
            Machine.Warm(scenario.MemoryBytes / 2);
            (TimeSpan restore, long peakRestore, exit) = Spawn.Run(engine, "restore", "-d", "-D", images, "-o", "restore.log");
            if (exit != 0)
                return "restore: " + Machine.FirstError(Path.Combine(images, "restore.log"));
            samples.Add(new Sample(dump.TotalMilliseconds, frozen, restore.TotalMilliseconds, Math.Max(peak, peakRestore) / 1048576.0, estimated));
            return null;
        }
        finally
        {
            Machine.KillSession(pid);
        }
    }
}
