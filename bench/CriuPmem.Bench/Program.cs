using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace CriuPmem.Bench;

/// <summary>Measures dump and restore side by side with the peer, interleaved, and writes the table of docs/performance.md.</summary>
internal static unsafe partial class Program
{
    private const string Begin = "<!-- table: written by scripts/bench.sh -->";
    private const string End = "<!-- end of table -->";
    private const int MADV_HUGEPAGE = 14;

    private sealed record Sample(double DumpMs, double FrozenMs, double RestoreMs, double PeakMiB);

    private static int Main(string[] arguments)
    {
        string top = arguments[0], ours = Path.Combine(top, "artifacts", "criu-pmem"), peer = arguments[1];
        Spawn.Helper = Path.Combine(top, "artifacts", "measure");
        var rows = new StringBuilder();
        foreach (Scenario scenario in Scenario.All(Path.Combine(top, "artifacts", "workloads")))
        {
            if (arguments.Length > 2 && !arguments.Skip(2).Contains(scenario.Name))
                continue;
            string row = Measure(scenario, ours, peer);
            Console.WriteLine(row);
            rows.AppendLine(row);
        }

        if (arguments.Length > 2)
            return 0; // a selection does not replace the whole table
        string document = Path.Combine(top, "docs", "performance.md");
        string text = File.ReadAllText(document);
        int from = text.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length, to = text.IndexOf(End, StringComparison.Ordinal);
        const string head = """


            | | n | dump ms | CRIU | ratio | frozen ms | CRIU | ratio | restore ms | CRIU | ratio | peak MiB | CRIU |
            |---|---|---|---|---|---|---|---|---|---|---|---|---|

            """;
        File.WriteAllText(document, $"{text[..from]}{head}{rows}\n{text[to..]}");
        return 0;
    }

    private static string Measure(Scenario scenario, string ours, string peer)
    {
        var own = new List<Sample>();
        var theirs = new List<Sample>();
        string? failure = null, peerFailure = scenario.OursAlone ? "not measured" : null;
        for (int i = 0; i < scenario.Repeats; i++)
        {
            if (failure is null)
                failure = Once(scenario, ours, own);
            if (peerFailure is null)
                peerFailure = Once(scenario, peer, theirs);
        }

        if (peerFailure is not null && !scenario.OursAlone)
            Console.Error.WriteLine($"{scenario.Name}: the peer fails: {peerFailure}");
        string Value(List<Sample> samples, Func<Sample, double> of) =>
            samples.Count == 0 || double.IsNaN(Median(samples, of)) ? "–" : $"{Median(samples, of):0.0}";
        string Ratio(Func<Sample, double> of) =>
            own.Count == 0 || theirs.Count == 0 || double.IsNaN(Median(own, of)) ? "–" : $"{Median(theirs, of) / Median(own, of):0.0}×";
        string[] cells =
        [
            scenario.Title + (failure is null ? "" : $" (not yet: {failure})"), $"{scenario.Repeats}",
            Value(own, s => s.DumpMs), Value(theirs, s => s.DumpMs), Ratio(s => s.DumpMs),
            Value(own, s => s.FrozenMs), Value(theirs, s => s.FrozenMs), Ratio(s => s.FrozenMs),
            Value(own, s => s.RestoreMs), Value(theirs, s => s.RestoreMs), Ratio(s => s.RestoreMs),
            Value(own, s => s.PeakMiB), Value(theirs, s => s.PeakMiB),
        ];
        return $"| {string.Join(" | ", cells)} |";
    }

    private static double Median(List<Sample> samples, Func<Sample, double> of)
    {
        double[] values = [.. samples.Select(of).Order()];
        return (values[(values.Length - 1) / 2] + values[values.Length / 2]) / 2;
    }

    /// <summary>One program, dumped and restored once; returns why it failed, or null.</summary>
    private static string? Once(Scenario scenario, string engine, List<Sample> samples)
    {
        string home = Directory.CreateTempSubdirectory("criu-pmem-bench.").FullName;
        string folder = Path.Combine("/dev/shm", Path.GetFileName(home)), images = Path.Combine(folder, "images");
        Directory.CreateDirectory(images);
        int pid = Start(scenario, folder);
        try
        {
            Warm(scenario.MemoryBytes);
            (TimeSpan dump, long peak, int exit) = Spawn.Run(
                engine, ["dump", "-t", $"{pid}", "-D", images, "-o", "dump.log", .. scenario.LeaveRunning ? (string[])["-R"] : []]);
            if (exit != 0)
                return "dump: " + FirstError(Path.Combine(images, "dump.log"));
            if (scenario.LeaveRunning)
            {
                samples.Add(new Sample(dump.TotalMilliseconds, StatsFile.FrozenMilliseconds(Path.Combine(images, "stats-dump")), double.NaN, peak / 1048576.0));
                return null;
            }

            Until(() => InSession(pid).Count == 0); // a member keeps the leader's number taken
            double frozen = StatsFile.FrozenMilliseconds(Path.Combine(images, "stats-dump"));
            Warm(scenario.MemoryBytes / 2);
            (TimeSpan restore, long peakRestore, exit) = Spawn.Run(engine, "restore", "-d", "-D", images, "-o", "restore.log");
            if (exit != 0)
                return "restore: " + FirstError(Path.Combine(images, "restore.log"));
            samples.Add(new Sample(dump.TotalMilliseconds, frozen, restore.TotalMilliseconds, Math.Max(peak, peakRestore) / 1048576.0));
            return null;
        }
        finally
        {
            KillSession(pid);
            Until(() => !Directory.Exists($"/proc/{pid}"));
            Directory.Delete(folder, recursive: true);
            Directory.Delete(home);
        }
    }

    private static int Start(Scenario scenario, string home)
    {
        var start = new ProcessStartInfo("/bin/sh") { WorkingDirectory = home };
        const string script = "setsid \"$@\" </dev/null >output 2>&1 &";
        foreach (string argument in (string[])["-c", script, "sh", .. scenario.CommandLine])
            start.ArgumentList.Add(argument);
        start.Environment["WORKLOAD_DIR"] = home;
        using (Process shell = Process.Start(start)!)
            shell.WaitForExit();
        string ready = Path.Combine(home, "ready");
        int pid = 0;
        Until(() => File.Exists(ready) && int.TryParse(File.ReadAllText(ready), out pid));
        Thread.Sleep(100);
        return pid;
    }

    private static void KillSession(int session)
    {
        foreach (int pid in InSession(session))
        {
            try
            {
                Process.GetProcessById(pid).Kill();
            }
            catch (Exception gone) when (gone is ArgumentException or InvalidOperationException)
            {
                // It has ended by itself.
            }
        }
    }

    private static List<int> InSession(int session)
    {
        var found = new List<int>();
        foreach (string folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder), out int pid))
                continue;
            try
            {
                string stat = File.ReadAllText(folder + "/stat");
                if (stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[3] == $"{session}")
                    found.Add(pid);
            }
            catch (IOException)
            {
                // It has ended.
            }
        }

        return found;
    }

    // A guest's host takes free memory back; whoever touches it next would pay for that instead of for the work.
    private static void Warm(long bytes)
    {
        if (bytes == 0)
            return;
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)bytes, 2 << 20);
        _ = madvise(memory, (nuint)bytes, MADV_HUGEPAGE);
        for (long at = 0; at < bytes; at += 4096)
            memory[at] = 1;
        NativeMemory.AlignedFree(memory);
    }

    // The first error tells the cause; that descriptors are limited is a warning of the peer's, whatever it calls it.
    private static string FirstError(string log) => File.Exists(log)
        ? File.ReadLines(log).FirstOrDefault(line => line.Contains("Error", StringComparison.Ordinal)
            && !line.Contains("RLIMIT_NOFILE", StringComparison.Ordinal))?.Replace('|', '/') ?? "no error"
        : "no log";

    private static void Until(Func<bool> reached)
    {
        for (int i = 0; i < 60_000 && !reached(); i++)
            Thread.Sleep(1);
    }

    [LibraryImport("libc")]
    private static partial int madvise(byte* address, nuint length, int advice);
}
