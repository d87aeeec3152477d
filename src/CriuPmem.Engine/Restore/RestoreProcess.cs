using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Restore;

/// <summary>One process in the making.</summary>
internal sealed class RestoreProcess(RestoreContext context, PstreeEntry entry, CoreEntry core) : IDisposable
{
    /// <summary>What the parts of the restore share.</summary>
    public RestoreContext Context { get; } = context;

    /// <summary>Its entry in the process tree.</summary>
    public PstreeEntry Entry { get; } = entry;

    /// <summary>The image of its leader.</summary>
    public CoreEntry Core { get; } = core;

    /// <summary>Its pid.</summary>
    public int Pid => (int)Entry.Pid;

    /// <summary>Its name.</summary>
    public string Name => LinuxText.Decode(Core.Tc.Comm.Span);

    /// <summary>The session it shall be in.</summary>
    public int SessionId => Context.MapSession((int)Entry.Sid);

    /// <summary>The process group it shall be in.</summary>
    public int GroupId => Context.MapGroup((int)Entry.Pgid);

    /// <summary>The session in which it was born: its maker's at that time.</summary>
    public int BirthSessionId { get; set; }

    /// <summary>Its parent in the tree; null for the root.</summary>
    public RestoreProcess? Parent { get; init; }

    /// <summary>Its children, in the order of the images.</summary>
    public List<RestoreProcess> Children { get; } = [];

    /// <summary>Its threads, the leader first.</summary>
    public List<RestoreThread> Threads { get; } = [];

    /// <summary>Its leader.</summary>
    public RestoreThread Leader => Threads[0];

    /// <summary>Ended, and not yet waited for.</summary>
    public bool IsZombie => Core.Tc.TaskState == (uint)Images.TaskState.Dead;

    /// <summary>Which objects it shares with whom; null for a zombie.</summary>
    public TaskKobjIdsEntry? Ids { get; init; }

    /// <summary>It shares memory, files, directories or signal handlers with another process of the tree.</summary>
    public bool IsEntangled { get; set; }

    /// <summary>Its memory; null for a zombie.</summary>
    public MmEntry? Memory { get; init; }

    /// <summary>Guard regions (MADV_GUARD_INSTALL): start and end.</summary>
    public List<(ulong Start, ulong End)> Guards { get; } = [];

    /// <summary>The scratch mapping in its memory.</summary>
    public RemoteSpace Space { get; set; } = null!;

    /// <summary>The process, born before, whose memory it shares (CLONE_VM).</summary>
    public RestoreProcess? MemoryOwner { get; set; }

    /// <summary>/proc/PID, once it exists.</summary>
    public ProcDirectory Proc { get; set; } = null!;

    /// <summary>The user id of the login that it has now; null when that is not known.</summary>
    public string? LoginId { get; set; }

    /// <summary>True once the process exists.</summary>
    public bool IsBorn { get; set; }

    /// <summary>"name (pid)", for messages.</summary>
    public override string ToString() => $"{Name} ({Pid})";

    /// <summary>An exception about this process.</summary>
    public CheckpointException Fail(ErrorCode code, string cause, string? remedy = null, string? what = null, Errno errno = Errno.None) =>
        new(code, cause) { Pid = Pid, ProcessName = Name, Object = what, Remedy = remedy, Errno = errno };

    /// <inheritdoc />
    public void Dispose()
    {
        if (MemoryOwner is null) Space?.Dispose();
        Proc?.Dispose();
    }
}
