using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Restore;

/// <summary>One thread in the making.</summary>
internal sealed class RestoreThread(RestoreProcess process, int tid, CoreEntry core)
{
    /// <summary>Its process.</summary>
    public RestoreProcess Process { get; } = process;

    /// <summary>Its id.</summary>
    public int Tid { get; } = tid;

    /// <summary>Its image.</summary>
    public CoreEntry Core { get; } = core;

    /// <summary>The task, once it exists.</summary>
    public Tracee Task { get; set; } = null!;

    /// <summary>The credentials and limits that new tasks inherit from the engine.</summary>
    public ProcStatus RestoredAs => Process.Context.OwnStatus;

    /// <summary>The highest capability that this kernel knows.</summary>
    public int LastCapability => Process.Context.LastCapability;
}
