namespace CriuPmem.Bench;

/// <summary>The programs that are measured, and what they are measured with.</summary>
/// <param name="Ours">criu-pmem.</param>
/// <param name="Peer">CRIU.</param>
/// <param name="StampProgram">bench/stamp.c.</param>
/// <param name="CopyProgram">bench/copy.c.</param>
/// <param name="DiskProgram">bench/disk.c.</param>
internal sealed record Engines(string Ours, string Peer, string StampProgram, string CopyProgram, string DiskProgram)
{
    /// <summary>Runs one of them; its log lies in the images directory.</summary>
    /// <returns>How long it took, in milliseconds.</returns>
    /// <exception cref="InvalidOperationException">It failed.</exception>
    public static double Run(string engine, string images, string[] arguments)
    {
        string log = arguments[0] + ".log";
        (TimeSpan time, _, int exit) = Spawn.Run(engine, [.. arguments, "-D", images, "-o", log]);
        if (exit != 0)
            throw new InvalidOperationException($"{arguments[0]}: {Machine.FirstError(Path.Combine(images, log))}");
        return time.TotalMilliseconds;
    }
}
