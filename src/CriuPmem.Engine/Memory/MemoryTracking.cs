using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Resources;

namespace CriuPmem.Engine.Memory;

/// <summary>Has the memory of a whole tree tracked (<see cref="WriteTracker"/>).</summary>
internal static class MemoryTracking
{
    /// <summary>Begins, in a frozen tree; what earlier rounds track goes on. Returns one process of each address space.</summary>
    /// <exception cref="CheckpointException">A process cannot be tracked.</exception>
    public static List<DumpProcess> Begin(FrozenTree tree)
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
            process.Tracker ??= WriteTracker.TryCreate(process) ?? throw process.Fail(
                ErrorCode.KernelFeature, "its memory cannot be tracked: the kernel lacks asynchronous write protection, or the process has no descriptor left",
                "Use Linux 6.7 or newer; a dump without --track-mem and with --no-live needs neither");
            AddressSpaceDump.Outline(process);
            process.Tracker.Register(process);
        }

        return [.. tree.MemoryOwners];
    }

    /// <summary>Every thread of a running tree passes through a stop, in which no read from a device is under way.</summary>
    public static void Pause(DumpOptions options)
    {
        using FrozenTree tree = FrozenTree.Freeze(options.Pid, options.TimeoutSeconds, options.Log);
        tree.Release(FinalState.Running);
    }
}
