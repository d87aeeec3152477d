using System.Globalization;

namespace CriuPmem.Engine.Memory;

/// <summary>How much more memory a process can take before something has to give way.</summary>
internal static class MemoryRoom
{
    private const string GroupsOfTheMachine = "/sys/fs/cgroup";

    /// <summary>In bytes: what the machine has available (proc_meminfo(5)), or less by a limit of one of its control groups (cgroups(7), both versions).</summary>
    public static ulong Bytes(ProcDirectory process)
    {
        ulong room = (ulong)MemoryInfo.AvailableBytes();
        foreach (string line in process.ReadText("cgroup")?.Split('\n') ?? [])
        {
            // "0::/user.slice/…", or of version 1 "4:memory:/…"
            string[] parts = line.Split(':', 3);
            if (parts.Length < 3) continue;
            if (parts[0] == "0" && parts[1].Length == 0) room = Math.Min(room, InGroup(process, GroupsOfTheMachine, parts[2], "memory.max", "memory.current"));
            else if (parts[1].Split(',').Contains("memory")) room = Math.Min(room, InGroup(process, GroupsOfTheMachine + "/memory", parts[2], "memory.limit_in_bytes", "memory.usage_in_bytes"));
        }

        return room;
    }

    /// <summary>What is left in a group, and in those around it.</summary>
    private static ulong InGroup(ProcDirectory process, string mount, string path, string limit, string used)
    {
        ulong room = ulong.MaxValue;
        for (; path.Length > 0; path = path[..path.LastIndexOf('/')])
        {
            bool limited = TryNumber(process.ReadText($"{mount}{path}/{limit}"), out ulong most);
            if (limited && TryNumber(process.ReadText($"{mount}{path}/{used}"), out ulong present)) room = Math.Min(room, most - Math.Min(most, present));
        }

        return room;
    }

    private static bool TryNumber(string? text, out ulong number) => ulong.TryParse(text?.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out number);
}
