using System.Diagnostics;
using System.Text;

namespace CriuPmem.SystemTests;

/// <summary>Finds the processes of a test by a mark in their environment, which survives whatever they do.</summary>
internal static class ProcessTable
{
    public const string Mark = "WORKLOAD_DIR";

    /// <summary>Pids of live processes whose environment marks them as belonging to <paramref name="directory"/>.</summary>
    public static List<int> Marked(string directory)
    {
        byte[] wanted = Encoding.UTF8.GetBytes($"{Mark}={directory}\0");
        return [.. All().Where(pid => Environment(pid).AsSpan().IndexOf(wanted) >= 0)];
    }

    /// <summary>Pids of the processes of a session that have not ended; some programs overwrite their environment with their title.</summary>
    public static List<int> InSession(int session) =>
        [.. All().Where(pid => Stat(pid) is { Length: > 3 } fields && fields[0] is not ("Z" or "X") && fields[3] == session.ToString())];

    public static bool Exists(int pid) => Directory.Exists($"/proc/{pid}");

    public static void WaitGone(IEnumerable<int> pids, TimeSpan limit, string why)
    {
        var clock = Stopwatch.StartNew();
        foreach (int pid in pids)
        {
            while (Exists(pid))
            {
                if (clock.Elapsed > limit)
                    throw new TimeoutException($"{why}: process {pid} is still there ({Describe(pid)}).");
                Thread.Sleep(2);
            }
        }
    }

    /// <summary>Kills what carries the mark, until nothing does.</summary>
    public static void KillMarked(string directory) => Kill(() => Marked(directory));

    /// <summary>Kills processes until none is left.</summary>
    public static void Kill(Func<List<int>> find)
    {
        for (int attempt = 0; attempt < 100; attempt++)
        {
            List<int> left = find();
            if (left.Count == 0)
                return;
            foreach (int pid in left)
                Kill(pid);
            Thread.Sleep(10);
        }
    }

    public static string Describe(int pid)
    {
        try
        {
            string[] wanted = ["Name", "State", "PPid", "TracerPid"];
            IEnumerable<string> lines = File.ReadLines($"/proc/{pid}/status")
                .Where(line => wanted.Any(name => line.StartsWith(name + ":", StringComparison.Ordinal)))
                .Select(line => line.Replace("\t", " ", StringComparison.Ordinal));
            return string.Join(", ", lines);
        }
        catch (IOException)
        {
            return "gone";
        }
    }

    private static void Kill(int pid)
    {
        try
        {
            using Process process = Process.GetProcessById(pid);
            process.Kill();
        }
        catch (Exception error) when (error is ArgumentException or InvalidOperationException)
        {
            // It ended by itself.
        }
    }

    private static IEnumerable<int> All() => Directory.EnumerateDirectories("/proc")
        .Select(folder => int.TryParse(Path.GetFileName(folder), out int pid) ? pid : 0).Where(pid => pid > 0);

    // The fields of /proc/PID/stat behind the name: state, parent, group, session …
    private static string[]? Stat(int pid)
    {
        try
        {
            string line = File.ReadAllText($"/proc/{pid}/stat");
            return line[(line.LastIndexOf(')') + 2)..].Split(' ');
        }
        catch (IOException)
        {
            return null;
        }
    }

    // A process whose main thread has ended shows it under its other threads alone.
    private static byte[] Environment(int pid)
    {
        if (Read($"/proc/{pid}/environ") is { Length: > 0 } own)
            return own;
        try
        {
            return [.. Directory.EnumerateDirectories($"/proc/{pid}/task").SelectMany(task => Read($"{task}/environ"))];
        }
        catch (IOException)
        {
            return [];
        }
    }

    private static byte[] Read(string path)
    {
        try
        {
            return File.ReadAllBytes(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
