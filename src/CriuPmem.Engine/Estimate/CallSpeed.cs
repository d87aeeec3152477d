using System.Diagnostics;

namespace CriuPmem.Engine.Estimate;

/// <summary>How fast the kernel answers here, against the machine whose times <see cref="TimeModel"/> has.</summary>
internal static class CallSpeed
{
    // The least of many short samples: what else the machine does at the moment shall not count.
    private const int Samples = 20, CallsPerSample = 50;

    // Opening, reading and closing /proc/self/stat there: most of what a dump does is of this kind.
    private const double ReferenceMicroseconds = 7.8;

    /// <summary>2 where everything takes twice as long.</summary>
    public static double Factor()
    {
        long least = long.MaxValue;
        var buffer = new byte[4096];
        for (int sample = 0; sample < Samples; sample++)
        {
            long begun = Stopwatch.GetTimestamp();
            for (int call = 0; call < CallsPerSample; call++) Sys.ReadFile(AT_FDCWD, "/proc/self/stat", ref buffer);
            least = Math.Min(least, Stopwatch.GetTimestamp() - begun);
        }

        return least * 1e6 / Stopwatch.Frequency / CallsPerSample / ReferenceMicroseconds;
    }
}
