using System.Globalization;
using CriuPmem.Engine.Dump;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Memory;

/// <summary>Keeps the trackers of a tree between two commands: a tiny process that holds their descriptors until the tree's root ends.</summary>
/// <remarks>
/// It is the seed of a restore (a few hundred bytes), driven to receive the descriptors and then let go in a batch of two
/// calls: poll(2) of a pidfd of the root, and exit. The next round finds it by the inventory of the snapshot before,
/// copies the descriptors (pidfd_getfd(2)) and ends it.
/// </remarks>
internal static class TrackingHolder
{
    private const string Name = "criu-pmem-track";
    private const int POLLIN = 1;

    /// <summary>Starts one, unless the root of the tree, which runs, has ended.</summary>
    /// <returns>What the inventory says of it; null without one: the next snapshot saves everything.</returns>
    public static TrackingEntry? TryStart(FrozenTree tree, IReadOnlyCollection<DumpProcess> owners)
    {
        TrackingEntry? entry = null;
        try
        {
            entry = Start(tree, owners);
        }
        catch (CheckpointException) when (HasEnded(tree.Root))
        {
        }

        if (!HasEnded(tree.Root)) return entry;
        End(entry);
        return null;
    }

    /// <summary>Starts one.</summary>
    /// <param name="tree">The tree.</param>
    /// <param name="owners">One process of each address space, with its tracker; the copies here stay the caller's.</param>
    /// <returns>What the inventory says of it.</returns>
    public static TrackingEntry Start(FrozenTree tree, IReadOnlyCollection<DumpProcess> owners)
    {
        using var transport = new Restore.Transport();
        transport.PlaceTaskEnd(owners.Count + Restore.Transport.MaxPerMessage + 2);
        using var root = new OwnedFd((int)Sys.PidfdOpen(tree.Root.Pid).OrThrow("pidfd_open", tree.Root.ToString()));
        Tracee task = Seed.SpawnAnywhere();
        try
        {
            using RemoteSpace space = RemoteSpace.Create(task, Seed.SyscallInstruction);
            var calls = new RemoteCalls(space, task);
            calls.Must("prctl(PR_SET_PDEATHSIG)", SyscallNumber.prctl, PR_SET_PDEATHSIG, 0);
            calls.Must("setsid", SyscallNumber.setsid);
            calls.Must("prctl(PR_SET_NAME)", SyscallNumber.prctl, PR_SET_NAME, calls.Batch.Data(LinuxText.EncodeZ(Name)));
            calls.Must("close_range", SyscallNumber.close_range, 0, transport.TaskEnd - 1, 0);
            calls.Must("close_range", SyscallNumber.close_range, transport.LastTaskEnd + 1, uint.MaxValue, 0);
            var entry = new TrackingEntry { HolderPid = (uint)task.Tid };
            var fds = new List<int> { root.Fd };
            foreach (DumpProcess process in owners)
            {
                entry.Processes.Add(new TrackedProcessEntry { Pid = (uint)process.Pid, StartTime = process.Stat.StartTimeTicks, Fd = (uint)fds.Count });
                fds.Add(process.Tracker!.Fd);
            }

            for (int first = 0; first < fds.Count; first += Restore.Transport.MaxPerMessage)
            {
                int count = Math.Min(Restore.Transport.MaxPerMessage, fds.Count - first);
                transport.Pass(calls, System.Runtime.InteropServices.CollectionsMarshal.AsSpan(fds).Slice(first, count));
            }

            transport.Close(calls);
            calls.Must("chdir", SyscallNumber.chdir, calls.Batch.Data("/\0"u8));
            calls.Flush();
            LetGo(space, task);
            using ProcDirectory proc = ProcDirectory.TryOpen(task.Tid)!;
            entry.HolderStartTime = proc.Stat()!.StartTimeTicks;
            return entry;
        }
        catch
        {
            Sys.Kill(task.Tid, SIGKILL);
            Sys.Wait4(task.Tid, out _, __WALL);
            throw;
        }
    }

    private static bool HasEnded(DumpProcess process) => process.Proc.Stat() is not { State: not ('Z' or 'X') };

    /// <summary>Copies of what a holder holds, by pid; empty when it is gone.</summary>
    public static Dictionary<int, WriteTracker> Take(TrackingEntry? entry, IEnumerable<DumpProcess> processes)
    {
        var taken = new Dictionary<int, WriteTracker>();
        if (entry is null || !IsAlive(entry)) return taken;
        SysResult pidfd = Sys.PidfdOpen((int)entry.HolderPid);
        if (pidfd.Failed) return taken;
        using var holder = new OwnedFd(pidfd.Value);
        foreach (DumpProcess process in processes)
        {
            TrackedProcessEntry? known = entry.Processes.FirstOrDefault(tracked => tracked.Pid == process.Pid && tracked.StartTime == process.Stat.StartTimeTicks);
            if (known is null) continue;
            SysResult fd = Sys.PidfdGetFd(holder.Fd, (int)known.Fd);
            if (!fd.Failed) taken.Add(process.Pid, WriteTracker.Adopt(fd.Value));
        }

        return taken;
    }

    /// <summary>Ends a holder whose descriptors somebody else has now, or nobody needs.</summary>
    public static void End(TrackingEntry? entry)
    {
        if (entry is not null && IsAlive(entry)) Sys.Kill((int)entry.HolderPid, SIGKILL);
    }

    /// <summary>Ends the holder of a chain that is begun anew, and waits until the kernel has forgotten what it tracked.</summary>
    /// <param name="rootPid">The root of the tree that is tracked.</param>
    public static void EndOthers(int rootPid)
    {
        using OwnedFd proc = Sys.OpenOrThrow(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY);
        var holders = new List<int>();
        Sys.ForEachEntry(proc.Fd, name =>
        {
            if (int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out int pid) && IsHolderOf(pid, rootPid)) holders.Add(pid);
        });
        foreach (int holder in holders)
        {
            Sys.Kill(holder, SIGKILL);
            for (int waited = 0; waited < 1000 && IsHolderOf(holder, rootPid); waited++) Sys.SleepMicroseconds(1000);
        }
    }

    private static bool IsHolderOf(int pid, int rootPid)
    {
        using ProcDirectory? process = ProcDirectory.TryOpen(pid);
        if (process?.Stat() is not { Comm: Name, State: not ('Z' or 'X') }) return false;
        // Its descriptor 0 is a pidfd, of which fdinfo tells the process: "Pid:  4711".
        string? pidfd = process.ReadText("fdinfo/0")?.Split('\n').FirstOrDefault(line => line.StartsWith("Pid:", StringComparison.Ordinal));
        return pidfd is not null && int.TryParse(pidfd.AsSpan(4).Trim(), CultureInfo.InvariantCulture, out int watched) && watched == rootPid;
    }

    private static bool IsAlive(TrackingEntry entry)
    {
        using ProcDirectory? proc = ProcDirectory.TryOpen((int)entry.HolderPid);
        // Images are not trusted: a process that they name and that is no holder of this user's is left alone.
        return proc?.Stat() is { Comm: Name } stat && stat.StartTimeTicks == entry.HolderStartTime && stat.State != 'Z' &&
            proc.ReadText("fdinfo/0")?.Contains("Pid:", StringComparison.Ordinal) == true &&
            proc.Status() is { } status && status.Uids[1] == Sys.GetEffectiveUid();
    }

    private static void LetGo(RemoteSpace space, Tracee task)
    {
        SyscallBatch batch = space.Batch;
        batch.Clear();
        RemoteAddress poll = batch.Data((uint)0 | (ulong)POLLIN << 32); // struct pollfd: descriptor 0 is the pidfd
        batch.Try(SyscallNumber.poll, poll, 1, -1);
        batch.Try(SyscallNumber.exit_group, 0);
        space.Leave(task);
    }
}
