namespace CriuPmem.SystemTests;

/// <summary>The peer's decoder as an outside proof that images are well formed.</summary>
internal static class Crit
{
    /// <summary>Decodes every image of the directory; throws with the names of those that cannot be decoded.</summary>
    public static void DecodeAll(string images)
    {
        string root = Path.Combine(Machine.PeerPrefix, "root", "usr");
        var environment = new Dictionary<string, string>
        {
            ["PYTHONPATH"] = Path.Combine(root, "lib", "python3", "dist-packages"),
            ["PYTHONDONTWRITEBYTECODE"] = "1",
        };
        string script = Path.Combine(AppContext.BaseDirectory, "decode-images.py");
        Command command = Command.Run("/usr/bin/python3", [script, Path.Combine(root, "bin", "crit"), images],
            TimeSpan.FromSeconds(120), environment);
        if (command.TimedOut || command.ExitCode != 0)
            throw new EngineFailure($"crit cannot decode what was written to {images}:\n{command.Output.Trim()}");
    }
}
