using System.Diagnostics;
using System.Globalization;

namespace CriuPmem.Bench;

/// <summary>One run of an engine, by bench/measure.c: its time, its peak memory (wait4(2)), its exit code.</summary>
internal static class Spawn
{
    /// <summary>The compiled helper.</summary>
    public static string Helper { get; set; } = "";

    public static (TimeSpan Time, long PeakBytes, int ExitCode) Run(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(Helper) { RedirectStandardOutput = true };
        foreach (string argument in (string[])[program, .. arguments])
            start.ArgumentList.Add(argument);
        using Process process = Process.Start(start)!;
        string line = process.StandardOutput.ReadLine() ?? throw new InvalidOperationException($"{program} cannot be measured");
        process.WaitForExit();
        long[] values = [.. line.Split(' ').Select(word => long.Parse(word, CultureInfo.InvariantCulture))];
        return (TimeSpan.FromMicroseconds(values[0]), values[1] * 1024, (int)values[2]);
    }
}
