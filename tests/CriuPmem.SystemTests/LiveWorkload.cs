using System.Diagnostics;

namespace CriuPmem.SystemTests;

/// <summary>
/// A running program that checks itself from inside. The protocol, all by files, is described in
/// tests/workloads/workload.h; programs in other languages speak it too.
/// </summary>
internal sealed class LiveWorkload : LiveTree
{
    private int _round;

    public LiveWorkload(Workload workload)
        : this(workload.Name, workload.OptionList, [workload.Executable, .. workload.ArgumentList])
    {
    }

    public LiveWorkload(string name, IReadOnlyList<string> options, IEnumerable<string> commandLine) : base(name, options)
    {
        Pid = StartDaemon(commandLine);
        Pid = WaitReady();
    }

    /// <inheritdoc />
    public override void Check(string when)
    {
        int round = ++_round;
        string result = Path.Combine(Home, $"result.{round}");
        File.WriteAllText(Path.Combine(Home, $"check.{round}"), "");
        var clock = Stopwatch.StartNew();
        while (!File.Exists(result))
        {
            if (clock.Elapsed > Patience)
                throw new WorkloadFailure($"{Name} does not answer {when}.\n{State()}");
            Thread.Sleep(2);
        }

        string answer = File.ReadAllText(result).Trim();
        if (answer != "OK")
            throw new WorkloadFailure($"{Name} {when}: {answer}\n{Output()}");
    }

    /// <inheritdoc />
    protected override void RequestStop() => File.WriteAllText(Path.Combine(Home, "stop"), "");

    private int WaitReady()
    {
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
                throw new WorkloadFailure($"{Name} does not get ready.\n{output}");
            }

            Thread.Sleep(2);
        }

        return int.Parse(File.ReadAllText(ready));
    }
}
