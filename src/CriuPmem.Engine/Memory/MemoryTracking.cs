using System.Runtime.InteropServices;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Resources;

namespace CriuPmem.Engine.Memory;

/// <summary>Has the memory of a whole tree tracked (<see cref="WriteTracker"/>).</summary>
internal static class MemoryTracking
{
    /// <summary>Begins, in a frozen tree; what earlier rounds track goes on. Returns one process of each address space.</summary>
    /// <param name="tree">The tree.</param>
    /// <param name="takeOver">End the tracking of another chain of snapshots; without that null is returned when there is one.</param>
    /// <exception cref="CheckpointException">A process cannot be tracked.</exception>
    public static List<DumpProcess>? Begin(FrozenTree tree, bool takeOver)
    {
        var objects = new SharedObjects();
        foreach (DumpProcess process in tree.Processes)
        {
            if (process.IsZombie) continue;
            objects.Identify(process);
            process.MemoryOwner = objects.FirstWithSame(process, SharedObjects.Kind.Memory);
            if (process.MemoryOwner is not null) continue;
            foreach (DumpThread thread in process.Threads)
            {
                thread.MakeReady();
                RestartableSequence.StepOut(thread);
                InterruptedCall.Rearm(thread);
            }

            process.Space = RemoteEntry.Open(process);
            bool known = process.Tracker is not null;
            process.Tracker ??= WriteTracker.TryCreate(process) ?? throw process.Fail(
                ErrorCode.KernelFeature, "its memory cannot be tracked: the kernel lacks asynchronous write protection, or the process has no descriptor left",
                "Use Linux 6.7 or newer; a dump without --track-mem and with --no-live needs neither");
            AddressSpaceDump.Outline(process);
            if (!known && IsTracked(process) && !takeOver) return null;
            if (!known) EndOthers(tree, process);
            process.Tracker.Register(process);
        }

        return [.. tree.MemoryOwners];
    }

    /// <summary>Ends the tracking of another chain of snapshots, which a new one takes the place of.</summary>
    /// <param name="tree">The tree.</param>
    /// <param name="process">One of its processes, its mappings read and not tracked by us.</param>
    public static void EndOthers(FrozenTree tree, DumpProcess process)
    {
        if (!IsTracked(process)) return;
        TrackingHolder.EndOthers(tree.Root.Pid);
        foreach (ref MemoryMapping mapping in CollectionsMarshal.AsSpan(process.Mappings)) mapping.Flags &= ~VmFlags.UffdWriteProtect;
    }

    private static bool IsTracked(DumpProcess process) => process.Mappings.Exists(mapping => (mapping.Flags & VmFlags.UffdWriteProtect) != 0);

    /// <summary>Every thread of a running tree passes through a stop, in which no read from a device is under way.</summary>
    public static void Pause(DumpOptions options)
    {
        using FrozenTree tree = FrozenTree.Freeze(options.Pid, options.TimeoutSeconds, options.Log);
        tree.Release(FinalState.Running);
    }
}
