namespace CriuPmem.Engine.Dump;

/// <summary>Small files and links of /proc/PID that every process of a tree is asked for.</summary>
internal sealed class ProcessFacts
{
    private static readonly string[] s_texts = ["limits", "personality", "oom_score_adj", "loginuid", "timers"];

    private static readonly string[] s_links =
    [
        "ns/pid", "ns/net", "ns/ipc", "ns/uts", "ns/time", "ns/mnt", "ns/user", "ns/cgroup", "ns/pid_for_children", "ns/time_for_children",
    ];

    private readonly Dictionary<string, string?> _known = new(s_texts.Length + s_links.Length);

    private ProcessFacts()
    {
    }

    /// <summary>Reads them all.</summary>
    public static ProcessFacts Read(DumpProcess process)
    {
        var facts = new ProcessFacts();
        foreach (string name in s_texts) facts._known.Add(name, process.Proc.ReadText(name));
        foreach (string name in s_links) facts._known.Add(name, process.Proc.ReadLink(name));
        return facts;
    }

    /// <summary>What <paramref name="name"/> holds or leads to; false when it is not among those.</summary>
    public bool TryGet(string name, out string? value) => _known.TryGetValue(name, out value);
}
