using System.Diagnostics;

namespace CriuPmem.SystemTests;

/// <summary>A running process tree that can be asked whether it is what it was, with a directory of its own.</summary>
internal abstract class LiveTree : IDisposable
{
    private static int _count;
    private readonly string _folder;
    private bool _failed = true;

    protected LiveTree(string name, IReadOnlyList<string> options)
    {
        Name = name;
        Options = options;
        _folder = Path.Combine(Machine.Scratch, $"{name}.{Interlocked.Increment(ref _count)}");
        Home = Path.Combine(_folder, "run");
        Directory.CreateDirectory(Home);
    }

    protected static TimeSpan Patience { get; } = TimeSpan.FromSeconds(30);

    /// <summary>Its name in messages.</summary>
    public string Name { get; }

    /// <summary>The options that engines need for it.</summary>
    public IReadOnlyList<string> Options { get; }

    /// <summary>The directory the tree lives in.</summary>
    public string Home { get; }

    /// <summary>Pid of the root of the tree.</summary>
    public int Pid { get; protected set; }

    protected string OutputPath => Path.Combine(_folder, "output");

    /// <summary>A new, empty images directory.</summary>
    public string NewImages(string name) => Directory.CreateDirectory(Path.Combine(_folder, name)).FullName;

    /// <summary>Asks the tree to check itself and throws when anything is wrong.</summary>
    public abstract void Check(string when);

    /// <summary>Tells the tree to end.</summary>
    protected abstract void RequestStop();

    /// <summary>Brings it to rest before a dump: what the options do not allow must be gone by then.</summary>
    public virtual void Settle()
    {
    }

    /// <summary>Dumps it.</summary>
    public virtual void Dump(Engine engine, string images, params string[] more) =>
        engine.Dump(Pid, images, [.. Options, .. more]);

    /// <summary>Restores it.</summary>
    public virtual void Restore(Engine engine, string images, params string[] more) => engine.Restore(images, [.. Options, .. more]);

    /// <summary>Tells the tree to end, and expects that it leaves nothing behind.</summary>
    public void Stop()
    {
        List<int> tree = Processes();
        RequestStop();
        ProcessTable.WaitGone(tree, Patience, $"{Name} was told to stop");
        SpinWait.SpinUntil(() => Processes().Count == 0, TimeSpan.FromSeconds(3)); // a child that was born meanwhile
        ExpectGone("after the end");
        _failed = false;
    }

    /// <summary>The pids of all its live processes.</summary>
    public virtual List<int> Processes() => ProcessTable.Marked(Home);

    /// <summary>Those of its processes that neither come nor go by themselves.</summary>
    public virtual List<int> LastingProcesses() => Processes();

    /// <summary>Expects that no process of the tree is left.</summary>
    public void ExpectGone(string when)
    {
        List<int> left = Processes();
        if (left.Count > 0)
            throw new WorkloadFailure($"{Name} {when}: left {left[0]} ({ProcessTable.Describe(left[0])}).");
    }

    public virtual void Dispose()
    {
        ProcessTable.Kill(Processes);
        if (!_failed || Environment.GetEnvironmentVariable("CRIU_TEST_KEEP") != "1")
            Machine.Delete(_folder);
    }

    /// <summary>Starts a program in a session of its own, without a terminal, adopted by init: as daemons run.</summary>
    /// <returns>Its pid, which is also that of its session.</returns>
    protected int StartDaemon(IEnumerable<string> commandLine)
    {
        var environment = new Dictionary<string, string> { [ProcessTable.Mark] = Home };
        const string script = """out=$1; shift; setsid "$@" </dev/null >"$out" 2>&1 & echo $! >"$out.pid" """;
        string[] arguments = ["-c", script, "sh", OutputPath, .. commandLine];
        Command.Run("/bin/sh", arguments, Patience, environment, Home);
        return int.Parse(File.ReadAllText(OutputPath + ".pid"));
    }

    /// <summary>Waits until something is there, and throws with the tree's state when it does not come.</summary>
    protected T WaitFor<T>(string what, Func<T?> look)
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            if (look() is { } found and not false)
                return found;
            if (clock.Elapsed > Patience)
                throw new WorkloadFailure($"{Name}: {what} does not come.\n{State()}");
            Thread.Sleep(2);
        }
    }

    protected string Output() => File.Exists(OutputPath) ? File.ReadAllText(OutputPath).Trim() : "";

    protected virtual string State()
    {
        IEnumerable<string> states = Processes().Take(20).Select(pid => $"{pid}: {ProcessTable.Describe(pid)}");
        return string.Join('\n', [.. states, .. Output().Split('\n').TakeLast(40)]);
    }
}
