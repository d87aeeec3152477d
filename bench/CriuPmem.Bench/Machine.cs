using System.Diagnostics;
using System.Runtime.InteropServices;

namespace CriuPmem.Bench;

/// <summary>What rows have in common: programs that are started and ended, memory that is made ready.</summary>
internal static unsafe partial class Machine
{
    private const int MADV_HUGEPAGE = 14;

    /// <summary>A folder on a tmpfs, which is removed with everything in it.</summary>
    public sealed class Folder : IDisposable
    {
        private readonly string _name = Directory.CreateTempSubdirectory("criu-pmem-bench.").FullName;

        public Folder()
        {
            Path = System.IO.Path.Combine("/dev/shm", System.IO.Path.GetFileName(_name));
            Directory.CreateDirectory(Path);
        }

        public string Path { get; }

        public string Make(string name) => Directory.CreateDirectory(System.IO.Path.Combine(Path, name)).FullName;

        public void Dispose()
        {
            for (int attempt = 1; ; attempt++)
            {
                try
                {
                    Directory.Delete(Path, recursive: true);
                    break;
                }
                catch (IOException) when (attempt < 20) // a pager whose program has just ended writes what it knows
                {
                    Thread.Sleep(50);
                }
            }

            Directory.Delete(_name);
        }
    }

    /// <summary>Starts a program in a session of its own; it has written $WORKLOAD_DIR/ready when it is ready.</summary>
    public static int Start(string[] commandLine, string home)
    {
        var start = new ProcessStartInfo("/bin/sh") { WorkingDirectory = home };
        const string script = "setsid \"$@\" </dev/null >output 2>&1 &";
        foreach (string argument in (string[])["-c", script, "sh", .. commandLine])
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

    /// <summary>Ends every process of a session, and waits until none is left.</summary>
    public static void KillSession(int session)
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

        Until(() => InSession(session).Count == 0);
    }

    public static List<int> InSession(int session)
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

    /// <summary>Whether a process of that name is there.</summary>
    public static bool IsRunning(string name) => Directory.EnumerateDirectories("/proc").Any(folder =>
    {
        try
        {
            return File.ReadAllText(folder + "/comm").TrimEnd() == name;
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    });

    // A guest's host takes free memory back; whoever touches it next would pay for that instead of for the work.
    public static void Warm(long bytes)
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
    public static string FirstError(string log) => File.Exists(log)
        ? File.ReadLines(log).FirstOrDefault(line => line.Contains("Error", StringComparison.Ordinal)
            && !line.Contains("RLIMIT_NOFILE", StringComparison.Ordinal))?.Replace('|', '/') ?? "no error"
        : "no log";

    public static void Until(Func<bool> reached)
    {
        for (int i = 0; i < 60_000 && !reached(); i++)
            Thread.Sleep(1);
    }

    public static double Median(IEnumerable<double> samples)
    {
        double[] values = [.. samples.Order()];
        return values.Length == 0 ? double.NaN : (values[(values.Length - 1) / 2] + values[values.Length / 2]) / 2;
    }

    [LibraryImport("libc")]
    private static partial int madvise(byte* address, nuint length, int advice);
}
