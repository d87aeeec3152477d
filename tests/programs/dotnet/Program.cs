using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace CriuPmem.Steady;

/// <summary>
/// Thread pool, timers, async file access and a garbage collector that never rests; speaks the protocol of workload.h.
/// </summary>
internal static class Program
{
    private const int Entries = 20_000;
    private static readonly string Home = Environment.GetEnvironmentVariable("WORKLOAD_DIR")!;
    private static readonly ConcurrentQueue<string> Failures = new();
    private static readonly Dictionary<int, byte[]> Table = [];
    private static readonly BlockingCollection<long> Queue = new(100);
    private static long _received;
    private static long _ticks;
    private static long _written;

    private static void Main()
    {
        for (int i = 0; i < Entries; i++)
            Table[i] = SHA256.HashData(BitConverter.GetBytes(i));
        using var timer = new Timer(static _ => Interlocked.Increment(ref _ticks), null, 5, 5);
        Daemon(Send);
        Daemon(Receive);
        Daemon(Litter);
        _ = Task.Run(WriteAsync);
        Publish("ready", Environment.ProcessId.ToString());
        for (int number = 1; !File.Exists(Path.Combine(Home, "stop"));)
        {
            if (File.Exists(Path.Combine(Home, $"check.{number}")))
            {
                Check();
                Publish($"result.{number}", Failures.IsEmpty ? "OK" : "FAIL: " + string.Join("\nFAIL: ", Failures));
                number++;
            }

            Thread.Sleep(10);
        }
    }

    private static void Daemon(ThreadStart run) => new Thread(run) { IsBackground = true }.Start();

    private static void Send()
    {
        for (long n = 0; ; n++)
        {
            Queue.Add(n);
            if (n % 100 == 0)
                Thread.Sleep(2);
        }
    }

    private static void Receive()
    {
        for (long due = 0; ; due++)
        {
            long n = Queue.Take();
            if (n != due)
                Failures.Enqueue($"number {n} came where {due} was due");
            Interlocked.Increment(ref _received);
        }
    }

    private static void Litter()
    {
        var kept = new List<int[]>();
        for (int n = 0; ; n++)
        {
            var block = new int[500];
            block[n % 500] = n;
            kept.Add(block);
            if (kept.Count == 2000)
            {
                for (int i = 0; i < kept.Count; i++)
                {
                    int due = n - kept.Count + 1 + i;
                    if (kept[i][due % 500] != due)
                        Failures.Enqueue($"block {i} has changed");
                }

                kept.Clear();
            }

            if (n % 200 == 0)
                Thread.Sleep(1);
        }
    }

    private static async Task WriteAsync()
    {
        await using var log = new StreamWriter(Path.Combine(Home, "log"));
        log.AutoFlush = true;
        while (true)
        {
            await log.WriteLineAsync($"{_written}");
            Interlocked.Increment(ref _written);
            await Task.Delay(3);
        }
    }

    private static void Check()
    {
        (long received, long ticks, long written) = (_received, _ticks, _written);
        long deadline = Environment.TickCount64 + 15_000;
        while (_received < received + 500 || _ticks < ticks + 5 || _written < written + 5)
        {
            if (Environment.TickCount64 > deadline)
            {
                Failures.Enqueue($"stands still at {_received} numbers, {_ticks} ticks, {_written} lines");
                break;
            }

            Thread.Sleep(5);
        }

        GC.Collect();
        for (int i = 0; i < Entries; i++)
        {
            if (!Table[i].AsSpan().SequenceEqual(SHA256.HashData(BitConverter.GetBytes(i))))
                Failures.Enqueue($"entry {i} has changed");
        }

        string[] lines = File.ReadAllLines(Path.Combine(Home, "log"));
        for (int i = 0; i < lines.Length - 1; i++)
        {
            if (lines[i] != $"{i}")
                Failures.Enqueue($"line {i} of the log is {lines[i]}");
        }
    }

    private static void Publish(string name, string text)
    {
        string part = Path.Combine(Home, "part~");
        File.WriteAllText(part, text);
        File.Move(part, Path.Combine(Home, name));
    }
}
