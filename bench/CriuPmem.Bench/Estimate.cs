using System.Text.Json;

namespace CriuPmem.Bench;

/// <summary>What criu-pmem estimate says of a program before it is dumped.</summary>
/// <param name="DumpMs">How long the dump will take, in milliseconds.</param>
/// <param name="FrozenMs">How long the program will stand still.</param>
/// <param name="RestoreMs">How long a restore will take.</param>
internal sealed record Estimate(double DumpMs, double FrozenMs, double RestoreMs)
{
    /// <summary>Asks.</summary>
    public static Estimate Of(string ours, int pid, string images)
    {
        string answer = Path.Combine(Path.GetDirectoryName(images)!, "estimate.json");
        // Through a shell: what is measured has no output that anybody reads.
        (_, _, int exit) = Spawn.Run("/bin/sh", "-c", $"exec {ours} estimate --json -t {pid} -D {images} >{answer}");
        if (exit != 0)
            throw new InvalidOperationException("estimate failed");
        using JsonDocument told = JsonDocument.Parse(File.ReadAllText(answer));
        double Ms(string name) => told.RootElement.GetProperty(name).GetDouble() / 1000;
        return new Estimate(Ms("dump_us"), Ms("frozen_us"), Ms("restore_us"));
    }
}
