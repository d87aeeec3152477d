using System.Diagnostics;

namespace CriuPmem.SystemTests;

/// <summary>A running workload with its own directory; the protocol is described in tests/workloads/workload.h.</summary>
internal sealed class LiveWorkload : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);
    private static int _count;
    private readonly string _folder;
    private int _round;
    private bool _failed = true;

    public LiveWorkload(Workload workload)
    {
        Workload = workload;
        _folder = Path.Combine(Machine.Scratch, $"{workload.Name}.{Interlocked.Increment(ref _count)}");
        Home = Path.Combine(_folder, "run");
        Directory.CreateDirectory(Home);
        Pid = Start();
    }

    public Workload Workload { get; }

    /// <summary>The directory the workload lives in.</summary>
    public string Home { get; }

    /// <summary>Pid of the leader, the root of the tree.</summary>
    public int Pid { get; }

    /// <summary>A new, empty images directory.</summary>
    public string NewImages(string name) => Directory.CreateDirectory(Path.Combine(_folder, name)).FullName;

    /// <summary>Asks the workload to check itself from inside and throws when it finds anything wrong.</summary>
    public void Check(string when)
    {
        int round = ++_round;
        string result = Path.Combine(Home, $"result.{round}");
        File.WriteAllText(Path.Combine(Home, $"check.{round}"), "");
        var clock = Stopwatch.StartNew();
        while (!File.Exists(result))
        {
            if (clock.Elapsed > Patience)
                throw new WorkloadFailure($"{Workload.Name} does not answer {when}.\n{State()}");
            Thread.Sleep(2);
        }

        string answer = File.ReadAllText(result).Trim();
        if (answer != "OK")
            throw new WorkloadFailure($"{Workload.Name} {when}: {answer}\n{Output()}");
    }

    /// <summary>Tells the workload to end, and expects that it leaves nothing behind.</summary>
    public void Stop()
    {
        List<int> tree = ProcessTable.Marked(Home);
        File.WriteAllText(Path.Combine(Home, "stop"), "");
        ProcessTable.WaitGone(tree, Patience, $"{Workload.Name} was told to stop");
        ExpectGone("after the end");
        _failed = false;
    }

    /// <summary>The pids of all its live processes.</summary>
    public List<int> Processes() => ProcessTable.Marked(Home);

    /// <summary>Expects that no process of the workload is left.</summary>
    public void ExpectGone(string when)
    {
        List<int> left = ProcessTable.Marked(Home);
        if (left.Count > 0)
            throw new WorkloadFailure($"{Workload.Name} {when}: left {left[0]} ({ProcessTable.Describe(left[0])}).");
    }

    public void Dispose()
    {
        ProcessTable.KillMarked(Home);
        if (!_failed || Environment.GetEnvironmentVariable("CRIU_TEST_KEEP") != "1")
            Machine.Delete(_folder);
    }

    // In a session of its own, without a terminal, adopted by init: as daemons run.
    private int Start()
    {
        var environment = new Dictionary<string, string> { [ProcessTable.Mark] = Home };
        const string script = """out=$1; shift; setsid "$@" </dev/null >"$out" 2>&1 & """;
        Command.Run("/bin/sh", ["-c", script, "sh", OutputPath, Workload.Executable, .. Workload.ArgumentList],
            Patience, environment, Home);
        string ready = Path.Combine(Home, "ready");
        var clock = Stopwatch.StartNew();
        while (!File.Exists(ready))
        {
            string output = Output();
            if (output.StartsWith("not here:", StringComparison.Ordinal))
                Assert.Skip(output.Split('\n')[0]);
            if (clock.Elapsed > Patience || output.StartsWith("prepare:", StringComparison.Ordinal))
            {
                Dispose();
                throw new WorkloadFailure($"{Workload.Name} does not get ready.\n{output}");
            }

            Thread.Sleep(2);
        }

        return int.Parse(File.ReadAllText(ready));
    }

    private string OutputPath => Path.Combine(_folder, "output");

    private string Output() => File.Exists(OutputPath) ? File.ReadAllText(OutputPath).Trim() : "";

    private string State()
    {
        IEnumerable<string> states = Processes().Take(20).Select(pid => $"{pid}: {ProcessTable.Describe(pid)}");
        return string.Join('\n', [.. states, Output()]);
    }
}
