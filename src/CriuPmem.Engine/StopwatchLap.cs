using System.Diagnostics;

namespace CriuPmem.Engine;

/// <summary>Measures the parts of an operation, in microseconds.</summary>
internal sealed class StopwatchLap
{
    private readonly long _start = Stopwatch.GetTimestamp();
    private long _lap = Stopwatch.GetTimestamp();

    /// <summary>Since the object was made.</summary>
    public long Total => Microseconds(_start, Stopwatch.GetTimestamp());

    /// <summary>Since the last call.</summary>
    public long Lap()
    {
        long now = Stopwatch.GetTimestamp(), lap = Microseconds(_lap, now);
        _lap = now;
        return lap;
    }

    private static long Microseconds(long from, long to) => (long)Stopwatch.GetElapsedTime(from, to).TotalMicroseconds;
}
