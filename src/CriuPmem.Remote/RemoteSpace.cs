namespace CriuPmem.Remote;

/// <summary>The scratch mapping in one address space, and the running of batches in the tasks that share it.</summary>
internal sealed class RemoteSpace : IDisposable
{
    private readonly SyscallBatch _batch;
    private Tracee? _running;
    private Action<CheckpointException>? _explain;

    /// <summary>Takes over a scratch mapping that exists in the address space (inherited over a fork, say).</summary>
    /// <param name="scratch">Where it lies.</param>
    /// <param name="syscallInstruction">A <c>syscall</c> instruction there, outside the scratch.</param>
    public RemoteSpace(RemoteAddress scratch, RemoteAddress syscallInstruction)
    {
        SyscallInstruction = syscallInstruction;
        _batch = new SyscallBatch(scratch);
    }

    /// <summary>A <c>syscall</c> instruction in the address space, outside the scratch.</summary>
    public RemoteAddress SyscallInstruction { get; }

    /// <summary>The batch to fill; cleared by whoever fills it. One that still runs is waited for.</summary>
    /// <exception cref="CheckpointException">As <see cref="Run"/>, of the batch that ran.</exception>
    public SyscallBatch Batch
    {
        get
        {
            Collect();
            return _batch;
        }
    }

    /// <summary>The signal that ends a batch: one that the program neither handles nor has pending.</summary>
    public int EndSignal { get; set; } = SIGURG;

    /// <summary>The way to make single calls that leave the program unharmed if the engine dies; null at a restore.</summary>
    public VdsoTail? Tail { get; init; }

    /// <summary>Makes a scratch mapping in the address space of a program, which goes on if the engine dies meanwhile.</summary>
    /// <param name="task">The task, its registers loaded; stopped in its program when this returns.</param>
    /// <param name="syscallInstruction">A <c>syscall</c> instruction in its memory.</param>
    /// <param name="tail">Where the call is made.</param>
    /// <param name="endSignal">See <see cref="EndSignal"/>.</param>
    public static RemoteSpace Create(Tracee task, RemoteAddress syscallInstruction, VdsoTail tail, int endSignal)
    {
        SysResult mapped = tail.Call(
            task, endSignal, SyscallNumber.mmap, 0, SyscallBatch.ScratchBytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        return new RemoteSpace(Scratch(task, mapped), syscallInstruction) { Tail = tail, EndSignal = endSignal };
    }

    /// <summary>Makes a scratch mapping in a task that belongs to the engine.</summary>
    /// <param name="task">The task, its registers loaded.</param>
    /// <param name="syscallInstruction">A <c>syscall</c> instruction in its memory, mapped executable.</param>
    /// <param name="address">Where the mapping shall lie, or 0 for the kernel's choice.</param>
    public static RemoteSpace Create(Tracee task, RemoteAddress syscallInstruction, ulong address = 0)
    {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | (address == 0 ? 0 : MAP_FIXED_NOREPLACE);
        SysResult mapped = task.StepCall(
            syscallInstruction, SyscallNumber.mmap, (long)address, SyscallBatch.ScratchBytes, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1);
        return new RemoteSpace(Scratch(task, mapped), syscallInstruction);
    }

    private static RemoteAddress Scratch(Tracee task, SysResult mapped) => !mapped.Failed
        ? new RemoteAddress((ulong)mapped.Raw)
        : throw new CheckpointException(ErrorCode.SystemCall, mapped.Errno is Errno.EACCES or Errno.EPERM
            ? "the process may not map memory that can be written and executed, of which saving it takes 256 KiB"
            : "the process cannot map the 256 KiB of memory that saving it takes")
        {
            Pid = task.Tid,
            Errno = mapped.Errno,
            Remedy = mapped.Errno is Errno.EACCES or Errno.EPERM
                ? "Start it without prctl(PR_SET_MDWE) (systemd: MemoryDenyWriteExecute=no), or allow it execmem where SELinux forbids it"
                : "Raise its limits (prlimit --as and --data) or vm.max_map_count, whichever it has reached",
        };

    /// <summary>Runs <see cref="Batch"/> in <paramref name="task"/>, which then stands stopped: in its program, or (at a restore) in the batch.</summary>
    /// <exception cref="CheckpointException">The task ended, or a call that had to succeed failed.</exception>
    public void Run(Tracee task)
    {
        Collect();
        if (_batch.Count == 0) return;
        _batch.Load(task, EndSignal, goesOn: Tail is null);
        task.Continue();
        Complete(task);
    }

    /// <summary>As <see cref="Run"/>, but does not wait: the end is waited for when <see cref="Batch"/> is needed again, at the latest.</summary>
    /// <param name="task">The task, one of a restore.</param>
    /// <param name="explain">What to add to a failure; null for nothing.</param>
    public void Launch(Tracee task, Action<CheckpointException>? explain)
    {
        Collect();
        if (_batch.Count == 0) return;
        _batch.Load(task, EndSignal, goesOn: true);
        task.Continue();
        (_running, _explain) = (task, explain);
    }

    /// <summary>Waits for what was launched; the batch is empty then.</summary>
    /// <exception cref="CheckpointException">As <see cref="Run"/>.</exception>
    public void Collect()
    {
        if (_running is not { } task) return;
        _running = null;
        try
        {
            Complete(task);
        }
        catch (CheckpointException failure) when (_explain is not null)
        {
            _explain(failure);
            throw;
        }

        _batch.Clear();
    }

    private void Complete(Tracee task)
    {
        task.WaitFor(EndSignal);
        if (Tail is null) task.ReadyAt = _batch.Scratch;
        // The way back is kept once for each scratch, which threads share: none may stand in it when the next one enters.
        if (Tail is not null) task.PutBack();
        _batch.Unload(task.Tid);
        _batch.Check(task.Tid);
    }

    /// <summary>Runs parts of <see cref="Batch"/> in several tasks, of a restore, at the same time.</summary>
    /// <exception cref="CheckpointException">As <see cref="Run"/>.</exception>
    public void RunParts(List<BatchPart> parts)
    {
        _batch.LoadParts(parts, EndSignal);
        foreach (BatchPart part in parts) part.Task.Continue();
        foreach (BatchPart part in parts) part.Task.WaitFor(EndSignal);
        _batch.Unload(parts[0].Task.Tid);
        foreach (BatchPart part in parts) _batch.Check(part.Task.Tid, part.First, part.Count);
    }

    /// <summary>Starts <see cref="Batch"/> in a task that will not come back (exit_group(2)).</summary>
    public void Start(Tracee task)
    {
        Batch.Load(task, EndSignal, goesOn: Tail is null);
        Sys.Ptrace(PTRACE_CONT, task.Tid).OrThrow("ptrace(CONT)", $"task {task.Tid}");
    }

    /// <summary>Lets go of a task, which runs <see cref="Batch"/> by itself and does not come back (exit_group(2)).</summary>
    public void Leave(Tracee task)
    {
        Batch.Load(task, EndSignal);
        task.Detach();
    }

    /// <summary>Unmaps the scratch mapping by a single call of <paramref name="task"/>, which then stands stopped.</summary>
    public void Remove(Tracee task)
    {
        if (Tail is null) RemoveAt(task, SyscallInstruction);
        else Tail.Call(task, EndSignal, SyscallNumber.munmap, Batch.Scratch, SyscallBatch.ScratchBytes);
    }

    /// <summary>As <see cref="Remove"/>, through another <c>syscall</c> instruction.</summary>
    public void RemoveAt(Tracee task, RemoteAddress syscallInstruction) =>
        task.StepCall(syscallInstruction, SyscallNumber.munmap, Batch.Scratch, SyscallBatch.ScratchBytes);

    /// <summary>Begins what <see cref="RemoveAt"/> does; <see cref="Tracee.EndStep"/> waits for its end.</summary>
    public void BeginRemovalAt(Tracee task, RemoteAddress syscallInstruction) =>
        task.BeginStep(syscallInstruction, SyscallNumber.munmap, Batch.Scratch, SyscallBatch.ScratchBytes);

    /// <summary>Frees the engine's side; the mapping itself is <see cref="Remove"/>'s business.</summary>
    public void Dispose()
    {
        Tail?.Dispose();
        _batch.Dispose();
    }
}
