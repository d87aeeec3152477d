using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace CriuPmem.Bench;

/// <summary>Redis under redis-benchmark, for a minute alone and for a minute with a snapshot every second.</summary>
internal static class RedisLoad
{
    private const int Port = 17_963, Seconds = 60;

    private static (double LostPercent, double PauseMs)? s_result;

    /// <summary>Measures; once, since two rows tell of it.</summary>
    public static (double LostPercent, double PauseMs) Run(Engines engines) => s_result ??= Measure(engines);

    private static (double LostPercent, double PauseMs) Measure(Engines engines)
    {
        using var folder = new Machine.Folder();
        string script = $"echo $$ >$WORKLOAD_DIR/ready; exec redis-server --port {Port} --save '' --appendonly no --daemonize no";
        int pid = Machine.Start(["/bin/sh", "-c", script], folder.Path);
        try
        {
            Machine.Until(IsUp);
            using (Process fill = Benchmark("-n 400000"))
                fill.WaitForExit();
            (double plain, double plainPause) = Minute(null);
            int round = 0;
            string[] images = [folder.Make("a"), folder.Make("b")];
            (double saved, double savedPause) = Minute(() => Engines.Run(engines.Ours, images[round++ % 2], ["dump", "-R", "--tcp-close", "-t", $"{pid}"]));
            Console.Error.WriteLine($"redis: {plain:0} calls a second alone, {saved:0} with snapshots; pauses {plainPause:0.0} and {savedPause:0.0} ms; {round} snapshots");
            return (100 * (1 - saved / plain), Math.Max(0, savedPause - plainPause));
        }
        finally
        {
            Machine.KillSession(pid);
        }
    }

    private static (double CallsPerSecond, double PauseMs) Minute(Action? everySecond)
    {
        using Process load = Benchmark("-n 1000000000");
        using var client = new TcpClient("127.0.0.1", Port) { NoDelay = true };
        double longest = 0;
        bool end = false;
        var prober = new Thread(() =>
        {
            while (!Volatile.Read(ref end))
            {
                long begun = Stopwatch.GetTimestamp();
                Ask(client, "PING");
                longest = Math.Max(longest, Stopwatch.GetElapsedTime(begun).TotalMilliseconds);
                Thread.Sleep(1);
            }
        });
        prober.Start();
        Thread.Sleep(1000);
        longest = 0;
        long calls = Calls(), start = Stopwatch.GetTimestamp();
        for (int second = 1; second <= Seconds; second++)
        {
            everySecond?.Invoke();
            TimeSpan left = TimeSpan.FromSeconds(second) - Stopwatch.GetElapsedTime(start);
            if (left > TimeSpan.Zero)
                Thread.Sleep(left);
        }

        double rate = (Calls() - calls) / Stopwatch.GetElapsedTime(start).TotalSeconds;
        Volatile.Write(ref end, true);
        prober.Join();
        load.Kill();
        load.WaitForExit();
        return (rate, longest);
    }

    private static Process Benchmark(string count) => Process.Start(new ProcessStartInfo(
        "redis-benchmark", $"-p {Port} -q -t set,get -c 20 -d 100 -r 100000 {count}")
    { RedirectStandardOutput = true })!;

    private static long Calls()
    {
        using var client = new TcpClient("127.0.0.1", Port);
        string text = Ask(client, "INFO stats");
        const string name = "total_commands_processed:";
        int at = text.IndexOf(name, StringComparison.Ordinal) + name.Length;
        return long.Parse(text.AsSpan(at, text.IndexOf('\r', at) - at), CultureInfo.InvariantCulture);
    }

    private static bool IsUp()
    {
        try
        {
            using var client = new TcpClient("127.0.0.1", Port);
            return Ask(client, "PING").StartsWith("+PONG", StringComparison.Ordinal);
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static string Ask(TcpClient client, string command)
    {
        NetworkStream stream = client.GetStream();
        stream.Write(Encoding.ASCII.GetBytes(command + "\r\n"));
        var buffer = new byte[64 * 1024];
        return Encoding.ASCII.GetString(buffer, 0, stream.Read(buffer));
    }
}
