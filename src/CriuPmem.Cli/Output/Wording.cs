using System.Globalization;
using CriuPmem.Engine;

namespace CriuPmem.Cli.Output;

/// <summary>Results in words, for people.</summary>
internal static class Wording
{
    /// <summary>"dumped 3 processes, 12 threads, 34.5 MiB in 41 ms, frozen 12 ms → DIR".</summary>
    public static string Dumped(DumpResult result, string directory, bool preDump = false) =>
        $"{(preDump ? "saved memory of" : "dumped")} {Tree(result.Processes, result.Threads, result.MemoryBytes)} in {Time(result.TotalMicroseconds)}, "
        + $"frozen {Time(result.FrozenMicroseconds)} → {directory}";

    /// <summary>"restored 3 processes, 12 threads, 34.5 MiB in 12 ms, root process 4711".</summary>
    public static string Restored(RestoreResult result) =>
        $"restored {Tree(result.Processes, result.Threads, result.MemoryBytes)} in {Time(result.TotalMicroseconds)}, "
        + (result.LaterBytes > 0 ? $"{Size(result.LaterBytes)} more come while it runs, " : "")
        + $"root process {result.RootPid}";

    /// <summary>A number of bytes: 512 B, 34.5 MiB, 2 GiB.</summary>
    public static string Size(long bytes)
    {
        ReadOnlySpan<string> units = ["B", "KiB", "MiB", "GiB", "TiB"];
        double value = bytes;
        int unit = 0;
        while (Math.Round(value, 1) >= 1024 && unit < units.Length - 1)
        {
            value /= 1024;
            unit++;
        }

        return value.ToString("0.#", CultureInfo.InvariantCulture) + " " + units[unit];
    }

    /// <summary>A time: 800 µs, 2.4 ms, 41 ms, 1.25 s.</summary>
    public static string Time(long microseconds) => microseconds switch
    {
        < 1000 => $"{microseconds} µs",
        < 10_000 => (microseconds / 1000.0).ToString("0.0", CultureInfo.InvariantCulture) + " ms",
        < 1_000_000 => $"{(microseconds + 500) / 1000} ms",
        _ => (microseconds / 1e6).ToString("0.00", CultureInfo.InvariantCulture) + " s",
    };

    /// <summary>Where a server listens to which the kernel gave a port.</summary>
    public static string Port(int port) => $"listening at port {port}\n";

    private static string Tree(int processes, int threads, long bytes) =>
        $"{Count(processes, "process", "processes")}, {Count(threads, "thread", "threads")}, {Size(bytes)}";

    /// <summary>A number with its word.</summary>
    public static string Count(int count, string one, string many) => $"{count} {(count == 1 ? one : many)}";
}
