using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Dump;

/// <summary>Which kernel objects and namespaces each process has, and which of them it shares.</summary>
internal sealed class SharedObjects
{
    private const string TimeName = "time";

    private static readonly (string Name, Action<TaskKobjIdsEntry, uint> Set)[] s_namespaces =
    [
        ("pid", (ids, id) => ids.PidNsId = id), ("net", (ids, id) => ids.NetNsId = id), ("ipc", (ids, id) => ids.IpcNsId = id),
        ("uts", (ids, id) => ids.UtsNsId = id), (TimeName, (ids, id) => ids.TimeNsId = id), ("mnt", (ids, id) => ids.MntNsId = id),
        ("user", (ids, id) => ids.UserNsId = id), ("cgroup", (ids, id) => ids.CgroupNsId = id),
    ];

    private readonly Dictionary<string, uint> _namespaces = [];
    private readonly KernelObjects[] _objects = [new(KCMP_VM), new(KCMP_FILES), new(KCMP_FS), new(KCMP_SIGHAND)];
    private readonly Dictionary<(Kind, uint), DumpProcess> _first = [];
    private string? _timeNamespace;
    private readonly uint[] _nextId = [1, 1, 1, 1];

    /// <summary>Kinds of objects that tasks share by clone(2)'s flags.</summary>
    public enum Kind
    {
        Memory, Files, Fs, SignalHandlers,
    }

    /// <summary>Learns the engine's own objects first: what equals them lies outside any container.</summary>
    public SharedObjects()
    {
        int self = Sys.GetPid();
        for (int kind = 0; kind < _objects.Length; kind++) Set(EngineIds, (Kind)kind, IdOf(self, (Kind)kind, out _));
        using ProcDirectory proc = ProcDirectory.TryOpen(self)!;
        foreach ((string name, Action<TaskKobjIdsEntry, uint> set) in s_namespaces) set(EngineIds, NamespaceId(proc.ReadLink($"ns/{name}") ?? name));
    }

    /// <summary>The engine's own objects.</summary>
    public TaskKobjIdsEntry EngineIds { get; } = new();

    /// <summary>Fills in the ids of a process.</summary>
    /// <exception cref="CheckpointException">It lives in a namespace that is not the engine's.</exception>
    public void Identify(DumpProcess process)
    {
        if (process.IsZombie) return;
        for (int kind = 0; kind < _objects.Length; kind++)
        {
            uint id = IdOf(process.TaskId, (Kind)kind, out bool isNew);
            Set(process.Ids, (Kind)kind, id);
            if (isNew) _first.Add(((Kind)kind, id), process);
        }

        CheckThreads(process);
        CheckTimeNamespace(process);
        CheckChildNamespaces(process);
        foreach ((string name, Action<TaskKobjIdsEntry, uint> set) in s_namespaces)
        {
            if (name == TimeName)
            {
                process.Ids.TimeNsId = EngineIds.TimeNsId; // its clocks are in timens-0.img, whichever namespace it is
                continue;
            }

            int known = _namespaces.Count;
            set(process.Ids, NamespaceId(process.Link($"ns/{name}") ?? name));
            if (_namespaces.Count > known)
            {
                throw process.Fail(ErrorCode.UnsupportedNamespace, $"it lives in a {name} namespace of its own, and containers cannot be saved yet",
                    "Run criu-pmem inside that container, or start the program without it");
            }
        }
    }

    /// <summary>The earlier process that has the same object, or null when this one has it first.</summary>
    public DumpProcess? FirstWithSame(DumpProcess process, Kind kind)
    {
        DumpProcess? first = _first.GetValueOrDefault((kind, Get(process.Ids, kind)));
        return first == process ? null : first;
    }

    /// <summary>True when no earlier process has the same object.</summary>
    public bool IsFirst(DumpProcess process, Kind kind) => FirstWithSame(process, kind) is null;

    private static uint Get(TaskKobjIdsEntry ids, Kind kind) => kind switch
    {
        Kind.Memory => ids.VmId,
        Kind.Files => ids.FilesId,
        Kind.Fs => ids.FsId,
        _ => ids.SighandId,
    };

    private static void Set(TaskKobjIdsEntry ids, Kind kind, uint id)
    {
        switch (kind)
        {
            case Kind.Memory: ids.VmId = id; break;
            case Kind.Files: ids.FilesId = id; break;
            case Kind.Fs: ids.FsId = id; break;
            default: ids.SighandId = id; break;
        }
    }

    private uint IdOf(int pid, Kind kind, out bool isNew) => _objects[(int)kind].IdOf(pid, 0, () => _nextId[(int)kind]++, out isNew);

    /// <summary>The images have one table of descriptors and one working directory for all threads of a process; unshare(2) can part them.</summary>
    private static void CheckThreads(DumpProcess process)
    {
        foreach (DumpThread thread in process.Threads)
        {
            if (thread.IsLeader) continue;
            foreach ((int kind, string what) in (ReadOnlySpan<(int, string)>)[(KCMP_FILES, "descriptor table"), (KCMP_FS, "working directory")])
            {
                if (Sys.Kcmp(process.Pid, thread.Task.Tid, kind).Raw == 0) continue;
                throw process.Fail(
                    ErrorCode.UnsupportedState, $"it has a {what} of its own (unshare(2)), apart from the other threads', which cannot be saved",
                    "Let the program do that in a process of its own", $"thread {thread.Task.Tid}");
            }
        }
    }

    /// <summary>A tree may live in a time namespace of its own, as restored ones often do; but in one.</summary>
    private void CheckTimeNamespace(DumpProcess process)
    {
        string link = process.Link("ns/" + TimeName) ?? TimeName;
        _timeNamespace ??= link;
        if (link == _timeNamespace) return;
        throw process.Fail(ErrorCode.UnsupportedNamespace, "it lives in another time namespace than its parent, and that cannot be saved yet", "Dump the two as trees of their own");
    }

    /// <summary>A process can have unshared what only its future children enter; the links name nothing before the first of them is there.</summary>
    private static void CheckChildNamespaces(DumpProcess process)
    {
        foreach (string name in (ReadOnlySpan<string>)["pid", TimeName])
        {
            string? own = process.Link($"ns/{name}");
            if (own is null || process.Link($"ns/{name}_for_children") == own) continue;
            throw process.Fail(
                ErrorCode.UnsupportedNamespace, $"its children are born into another {name} namespace than its own (unshare), and that cannot be saved yet",
                "Start the program without unshare or nsenter");
        }
    }

    private uint NamespaceId(string link)
    {
        if (!_namespaces.TryGetValue(link, out uint id)) _namespaces.Add(link, id = (uint)_namespaces.Count + 1);
        return id;
    }
}
