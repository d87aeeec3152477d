using System.Runtime.InteropServices;
using CriuPmem.Engine.Memory;
using CriuPmem.Engine.Resources;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Restore;

/// <summary>Builds the processes; until <see cref="Commit"/> its end kills them all.</summary>
/// <remarks>
/// Order: a process is born from its parent; children of another session are born before it starts its own; then its
/// memory is built, its threads are made, its descriptors passed in, and what restricts it most comes last.
/// </remarks>
internal sealed class TreeBuilder(RestoreContext context) : IDisposable
{
    private readonly MemoryRestore _memory = new(context);
    private readonly HashSet<uint> _filled = []; // descriptor tables that are complete
    private Births? _births;
    private ThreadReaper? _reaper;
    private bool _committed;

    private IEnumerable<RestoreProcess> Born => _births?.Born ?? [];

    private IEnumerable<RestoreProcess> Live => Born.Where(process => !process.IsZombie);

    /// <summary>The memory, and how much of it there was.</summary>
    public MemoryRestore Memory => _memory;

    /// <summary>Builds everything; the tasks stand still.</summary>
    public void Build()
    {
        context.Transport.PlaceTaskEnd(HighestDescriptor() + Transport.MaxPerMessage + 1);
        _reaper = new ThreadReaper(context.Processes);
        var terminals = new TerminalMaker(context);
        terminals.Make();
        _births = new Births(context, _memory, terminals);
        _births.BearAll();
        foreach (RestoreProcess process in Born.Reverse().Where(process => process.IsZombie)) Zombie.Make(process);
        foreach (RestoreProcess process in Live) MakeThreads(process);
        // While they may make a userfaultfd, and before the kernel writes into their memory (rseq); not earlier, since the pager
        // has threads, too, which could take the numbers of those that are to be made.
        context.Lazy.Start(Live);
        // Directories first: they pass through descriptor tables that must be empty, and that several may share.
        foreach (RestoreProcess process in Live) FileSystemView.Restore(context, process);
        context.Running.CollectAll();
        terminals.Complete();
        UnixSocketMaker.MakeAll(context);
        foreach (RestoreProcess process in Live) FillDescriptors(process);
        context.Running.CollectAll();
        FileLocks.Restore(context);
        foreach (RestoreProcess process in Live) Equip(process);
        context.Running.CollectAll();
        foreach (Action step in context.WhenTasksAreEquipped) step();
        SetOwners();
        context.Files.Inherited.WarnOfUnused();
        Finish();
        context.Lazy.Await();
    }

    /// <summary>Looks whether all tasks still stand where they were left: an action may have killed one.</summary>
    /// <param name="action">What ran in between.</param>
    /// <exception cref="CheckpointException">One has ended, or is about to.</exception>
    public void RequireAlive(string action)
    {
        foreach (RestoreThread thread in Live.SelectMany(static process => process.Threads))
        {
            if (thread.Task.IsStopped()) continue;
            throw thread.Process.Fail(ErrorCode.RestoredDied, $"it was killed before it could run, while the {action} action ran", "Look whether an action script kills it; nothing of the tree is left");
        }
    }

    /// <summary>Lets all tasks go.</summary>
    public void Commit()
    {
        _reaper?.Dispose();
        foreach (RestoreProcess process in Live)
        {
            bool stopped = process.Core.Tc.TaskState == (uint)Images.TaskState.Stopped || context.Options.LeaveStopped;
            if (stopped) Sys.Kill(process.Pid, process.Core.Tc.HasStopSigno ? (int)process.Core.Tc.StopSigno : SIGSTOP);
        }

        context.Commit();
        _committed = true;
        foreach (RestoreProcess process in Live)
        {
            foreach (RestoreThread thread in process.Threads) thread.Task.Detach();
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _memory.Dispose();
        if (_committed) return;
        _reaper?.Dispose(); // from here on threads are waited for before the one that leads them
        _births?.Dispose();
        foreach (RestoreProcess process in Born) Sys.Kill(process.Pid, SIGKILL);
        foreach (RestoreProcess process in Born.Reverse())
        {
            foreach (RestoreThread thread in Enumerable.Reverse(process.Threads))
            {
                // One that was made as its process died is traced, though nobody has taken note of it.
                Tracee task = thread.Task ?? new Tracee(thread.Tid);
                while (!task.Wait().Ended)
                {
                }
            }
        }

        Sys.Wait4(context.Root.Pid, out _, __WALL);
    }

    private int HighestDescriptor()
    {
        int highest = 2;
        foreach (IReadOnlyList<FdinfoEntry> table in context.Contents.Fdinfos.Values)
        {
            foreach (FdinfoEntry entry in table) highest = Math.Max(highest, (int)entry.Fd);
        }

        return highest;
    }

    private static void MakeThreads(RestoreProcess process)
    {
        var calls = new RemoteCalls(process.Space, process.Leader.Task);
        const ulong flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PTRACE;
        foreach (RestoreThread thread in process.Threads.Skip(1))
        {
            calls.Room(160, 2);
            RemoteAddress setTid = calls.Batch.Data(thread.Tid);
            RemoteAddress arguments = calls.Batch.Data(new CloneArgs { flags = flags, set_tid = setTid.Value, set_tid_size = 1 });
            calls.Must("clone3", SyscallNumber.clone3, arguments, Marshal.SizeOf<CloneArgs>());
        }

        calls.Flush();
        foreach (RestoreThread thread in process.Threads.Skip(1)) thread.Task = Births.NewTask(thread.Tid, process, process.Leader.Task);
    }

    private void FillDescriptors(RestoreProcess process)
    {
        if (!_filled.Add(process.Ids!.FilesId)) return;
        var calls = new RemoteCalls(process.Space, process.Leader.Task);
        DescriptorTable.Fill(context, process, calls, context.Contents.Fdinfos.GetValueOrDefault(process.Ids.FilesId) ?? []);
    }

    /// <summary>The state of process and threads, the most restrictive last.</summary>
    private void Equip(RestoreProcess process)
    {
        MemoryRestore.Seal(process); // all children are born, and no filter is in force yet
        var calls = new RemoteCalls(process.Space, process.Leader.Task);
        if (process.Children.Exists(child => child.IsZombie) || _births!.HadHelpers(process)) Zombie.ForgetSignal(calls);
        foreach (Resources.TaskState state in TaskStates.OfProcess) state.Restore(calls, process.Leader);
        process.Leader.Task.IgnoresTrap = SignalActions.IgnoresTrap(process.Leader);
        if (Seccomp.IsUsed(process) || process.Threads.Count > 1) calls.Flush(); // else the leader goes on with it
        Seccomp.Restore(context, process);
        EquipThreads(process);
        // The leader comes last: a change of credentials sets what PR_SET_DUMPABLE does.
        foreach (Resources.TaskState state in TaskStates.OfThread) state.Restore(calls, process.Leader);
        if (process.Memory!.HasDumpable) calls.Try(SyscallNumber.prctl, PR_SET_DUMPABLE, process.Memory.Dumpable);
        context.Launch(process, calls);
    }

    /// <summary>The state of all threads but the leader, at the same time.</summary>
    private static void EquipThreads(RestoreProcess process)
    {
        if (process.Threads.Count == 1) return;
        var calls = new RemoteCalls(process.Space, process.Leader.Task);
        foreach (RestoreThread thread in process.Threads.Skip(1))
        {
            calls.GoOnWith(thread.Task);
            foreach (Resources.TaskState state in TaskStates.OfThread) state.Restore(calls, thread);
        }

        calls.Flush();
    }

    private unsafe void SetOwners()
    {
        int* target = stackalloc int[2];
        foreach ((long fd, FownEntry owner, uint flags) in context.Owners)
        {
            target[0] = (int)owner.PidType;
            target[1] = (int)owner.Pid;
            Sys.Fcntl((int)fd, F_SETOWN_EX, (long)target); // the process may be gone, as it may have been at the dump
            if ((flags & FASYNC) != 0) Sys.Fcntl((int)fd, F_SETFL, flags);
        }
    }

    /// <summary>Registers, signal masks, and the end of the scratch mappings: each step for all, so that the tasks work at the same time.</summary>
    private void Finish()
    {
        List<RestoreProcess> live = [.. Live];
        foreach (RestoreProcess process in live)
        {
            SetRegisters(process);
            if (process.MemoryOwner is null) process.Space.BeginRemovalAt(process.Leader.Task, VdsoInstruction(process));
        }

        var armed = new List<InterruptedCall.Armed>();
        foreach (RestoreProcess process in live)
        {
            RemoteAddress instruction = VdsoInstruction(process);
            if (process.MemoryOwner is null) process.Leader.Task.EndStep(instruction);
            foreach (RestoreThread thread in process.Threads)
            {
                if (InterruptedCall.Begin(context, thread, instruction) is { } call) armed.Add(call);
            }
        }

        InterruptedCall.Complete(armed);
        foreach (RestoreThread thread in live.SelectMany(process => process.Threads))
        {
            thread.Task.IsBorrowed = true;
            thread.Task.PutBack();
        }
    }

    private static void SetRegisters(RestoreProcess process)
    {
        foreach (RestoreThread thread in process.Threads)
        {
            FpuState.Restore(thread.Tid, thread.Core.ThreadInfo.Fpregs);
            ThreadLocalSegments.Restore(thread.Tid, thread.Core.ThreadInfo.Tls);
            thread.Task.Registers = Registers.FromEntry(thread.Core.ThreadInfo.Gpregs);
            thread.Task.SignalMask = thread.Core.ThreadCore.HasBlkSigset ? thread.Core.ThreadCore.BlkSigset : thread.Core.Tc.BlkSigset;
        }
    }

    private static RemoteAddress VdsoInstruction(RestoreProcess process)
    {
        VmaEntry vdso = (process.MemoryOwner ?? process).Memory!.Vmas.FirstOrDefault(vma => ((VmaStatus)vma.Status & VmaStatus.Vdso) != 0)
            ?? throw process.Fail(ErrorCode.ImageUnsupported, "it was saved without a vDSO");
        return new RemoteAddress(vdso.Start + VdsoLayout.SyscallOffset);
    }
}
