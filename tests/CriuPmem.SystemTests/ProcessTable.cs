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
        var found = new List<int>();
        foreach (string folder in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder), out int pid) && Environment(pid).AsSpan().IndexOf(wanted) >= 0)
                found.Add(pid);
        }

        return found;
    }

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
    public static void KillMarked(string directory)
    {
        for (int attempt = 0; attempt < 100; attempt++)
        {
            List<int> left = Marked(directory);
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

    private static byte[] Environment(int pid)
    {
        try
        {
            return File.ReadAllBytes($"/proc/{pid}/environ");
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
