using System.Globalization;

namespace CriuPmem.Engine.Memory;

/// <summary>Says from time to time how far compressing has come: with a high level it takes minutes.</summary>
internal sealed class CompressionProgress(DumpOptions options)
{
    private const long EveryMicroseconds = 2_000_000;

    private StopwatchLap? _watch; // since the first block
    private long _plain, _stored, _next = EveryMicroseconds;

    /// <summary>Another block is compressed; called by any thread.</summary>
    public void Add(int plainBytes, int storedBytes)
    {
        long plain = Interlocked.Add(ref _plain, plainBytes), stored = Interlocked.Add(ref _stored, storedBytes);
        long now = LazyInitializer.EnsureInitialized(ref _watch, static () => new StopwatchLap()).Total, due = Volatile.Read(ref _next);
        if (now < due || Interlocked.CompareExchange(ref _next, now + EveryMicroseconds, due) != due) return;
        string text = string.Create(CultureInfo.InvariantCulture, $"compressing for {now / 1_000_000} s: {plain >> 20} MiB of pages became {stored >> 20} MiB so far");
        options.Log.Info("compress", $"{text}");
        options.OnProgress(text);
    }
}
