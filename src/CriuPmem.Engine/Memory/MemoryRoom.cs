using System.Globalization;

namespace CriuPmem.Engine.Memory;

/// <summary>How much more memory a process can take before something has to give way.</summary>
internal static class MemoryRoom
{
    /// <summary>In bytes: what the machine has available (proc_meminfo(5)), or less by a limit of one of its control groups (cgroup v2).</summary>
    public static ulong Bytes(ProcDirectory process)
    {
        ulong room = (ulong)MemoryInfo.AvailableBytes();
        string? group = process.ReadText("cgroup")?.Split('\n').FirstOrDefault(line => line.StartsWith("0::/", StringComparison.Ordinal));
        for (string path = group?[3..] ?? ""; path.Length > 0; path = path[..path.LastIndexOf('/')])
        {
            bool limited = TryNumber(process.ReadText($"/sys/fs/cgroup{path}/memory.max"), out ulong most);
            if (limited && TryNumber(process.ReadText($"/sys/fs/cgroup{path}/memory.current"), out ulong present)) room = Math.Min(room, most - Math.Min(most, present));
        }

        return room;
    }

    private static bool TryNumber(string? text, out ulong number) => ulong.TryParse(text?.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out number);
}
