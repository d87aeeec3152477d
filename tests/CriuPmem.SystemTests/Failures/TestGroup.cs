namespace CriuPmem.SystemTests.Failures;

/// <summary>A control group of version 1 with a limit, which goes with the test.</summary>
internal sealed class TestGroup : IDisposable
{
    private static int _count;
    private readonly string _path, _limit;

    public TestGroup(string controller, string limit, long? most)
    {
        string mount = Path.Combine("/sys/fs/cgroup", controller);
        if (!File.Exists(Path.Combine(mount, "cgroup.procs"))) Assert.Skip($"not here: no control groups of version 1 with {controller}");
        _limit = limit;
        _path = Path.Combine(mount, $"criu-pmem-test.{Environment.ProcessId}.{Interlocked.Increment(ref _count)}");
        Directory.CreateDirectory(_path);
        if (most is { } value) Limit(value);
    }

    /// <summary>Sets the limit.</summary>
    public void Limit(long most) => File.WriteAllText(Path.Combine(_path, _limit), $"{most}");

    /// <summary>Puts a process into it.</summary>
    public void Add(int pid) => File.WriteAllText(Path.Combine(_path, "cgroup.procs"), $"{pid}");

    /// <summary>A number that it tells.</summary>
    public long Number(string name) => long.Parse(File.ReadAllText(Path.Combine(_path, name)));

    /// <summary>Runs our engine in it.</summary>
    public Command Run(params string[] arguments)
    {
        Command command = Command.Run("/bin/sh", ["-c", $"echo $$ >{_path}/cgroup.procs; exec \"$@\"", "sh", Engine.Ours.Program, .. arguments], Engine.Limit);
        Assert.False(command.TimedOut, $"criu-pmem {string.Join(' ', arguments)} hangs");
        return command;
    }

    public void Dispose()
    {
        if (File.Exists(Path.Combine(_path, "memory.limit_in_bytes"))) File.WriteAllText(Path.Combine(_path, "memory.limit_in_bytes"), "-1");
        // What is left in it (a restored tree) moves out first.
        foreach (string pid in File.ReadAllLines(Path.Combine(_path, "cgroup.procs")))
        {
            try
            {
                File.WriteAllText(Path.Combine(Path.GetDirectoryName(_path)!, "cgroup.procs"), pid);
            }
            catch (IOException)
            {
                // It ended.
            }
        }

        Directory.Delete(_path);
    }
}
