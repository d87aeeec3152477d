using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Restore;

/// <summary>Turns checked images into the tree that is to be built, and refuses what cannot be.</summary>
internal static class RestoreTree
{
    private const int LongMs = 20; // nobody asks for less

    /// <summary>Fills the context's processes.</summary>
    public static void Plan(RestoreContext context)
    {
        var byPid = new Dictionary<uint, RestoreProcess>();
        var memories = new Dictionary<uint, MmEntry>(); // by the id of the address space, which processes may share
        foreach (PstreeEntry entry in context.Contents.Pstree)
        {
            RestoreProcess? parent = byPid.GetValueOrDefault(entry.Ppid);
            TaskKobjIdsEntry? ids = context.Contents.Ids.GetValueOrDefault(entry.Pid);
            MmEntry? memory = context.Contents.Mms.GetValueOrDefault(entry.Pid);
            if (ids is not null && memory is not null) memories.TryAdd(ids.VmId, memory);
            var process = new RestoreProcess(context, entry, context.Contents.Cores[entry.Pid])
            {
                Parent = parent,
                Ids = ids,
                Memory = memory ?? (ids is null ? null : memories.GetValueOrDefault(ids.VmId)),
            };
            parent?.Children.Add(process);
            byPid.Add(entry.Pid, process);
            context.Processes.Add(process);
            foreach (uint tid in Threads(process)) process.Threads.Add(new RestoreThread(process, (int)tid, context.Contents.Cores[tid]));
            CheckNamespaces(context, process);
            TakeGuards(process);
        }

        FindEntangled(context);
        foreach (RestoreProcess process in context.Processes)
        {
            foreach (RestoreThread thread in process.Threads) CheckFree(thread, context.Log);
            CheckSession(context, process);
        }
    }

    private static void FindEntangled(RestoreContext context)
    {
        var owners = new Dictionary<(string Kind, uint Id), RestoreProcess>();
        foreach (RestoreProcess process in context.Processes)
        {
            if (process.Ids is not { } ids) continue;
            Note(("memory", ids.VmId), process);
            Note(("files", ids.FilesId), process);
            Note(("directories", ids.FsId), process);
            Note(("handlers", ids.SighandId), process);
        }

        void Note((string, uint) id, RestoreProcess process)
        {
            if (owners.TryAdd(id, process)) return;
            process.IsEntangled = owners[id].IsEntangled = true;
        }
    }

    /// <summary>In the images guard regions stand among the mappings, though they lie inside of them.</summary>
    private static void TakeGuards(RestoreProcess process)
    {
        if (process.Memory is null) return;
        for (int i = process.Memory.Vmas.Count - 1; i >= 0; i--)
        {
            VmaEntry vma = process.Memory.Vmas[i];
            if (((VmaStatus)vma.Status & VmaStatus.Guard) == 0) continue;
            process.Guards.Add((vma.Start, vma.End));
            process.Memory.Vmas.RemoveAt(i);
        }
    }

    /// <summary>The thread ids, the leader first (which the format does not promise).</summary>
    private static IEnumerable<uint> Threads(RestoreProcess process) => process.IsZombie
        ? [process.Entry.Pid]
        : process.Entry.Threads.OrderBy(tid => tid == process.Entry.Pid ? 0 : 1);

    private static void CheckNamespaces(RestoreContext context, RestoreProcess process)
    {
        TaskKobjIdsEntry? root = context.Contents.Inventory.RootIds, ids = process.Ids;
        if (root is null || ids is null) return;
        bool own = ids.PidNsId == root.PidNsId && ids.NetNsId == root.NetNsId && ids.IpcNsId == root.IpcNsId && ids.UtsNsId == root.UtsNsId &&
            ids.MntNsId == root.MntNsId && ids.UserNsId == root.UserNsId;
        if (!own) throw process.Fail(ErrorCode.ImageUnsupported, "it was saved in namespaces of its own (a container), which cannot be restored yet");
    }

    private static void CheckSession(RestoreContext context, RestoreProcess process)
    {
        if (!context.Options.ShellJob && process.Parent is null && process.Entry.Sid != process.Entry.Pid)
        {
            throw process.Fail(ErrorCode.OutsideTree, $"it belonged to the session of process {process.Entry.Sid}, which is outside the tree", "Add --shell-job");
        }
    }

    private static void CheckFree(RestoreThread thread, EngineLog log)
    {
        for (int waited = 0; ProcDirectory.Exists(thread.Tid); waited++)
        {
            if (waited == LongMs) log.Info("restore", $"waiting for the number {thread.Tid}: {PidPatience.Describe(thread.Tid)}");
            if (!PidPatience.Wait(thread.Tid, waited)) throw PidPatience.InUse(thread.Tid);
        }
    }
}
