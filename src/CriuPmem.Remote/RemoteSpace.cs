namespace CriuPmem.Remote;

/// <summary>The scratch mapping in one address space, and the running of batches in the tasks that share it.</summary>
internal sealed class RemoteSpace : IDisposable
{
    /// <summary>Takes over a scratch mapping that exists in the address space (inherited over a fork, say).</summary>
    /// <param name="scratch">Where it lies.</param>
    /// <param name="syscallInstruction">A <c>syscall</c> instruction there, outside the scratch.</param>
    public RemoteSpace(RemoteAddress scratch, RemoteAddress syscallInstruction)
    {
        SyscallInstruction = syscallInstruction;
        Batch = new SyscallBatch(scratch);
    }

    /// <summary>A <c>syscall</c> instruction in the address space, outside the scratch.</summary>
    public RemoteAddress SyscallInstruction { get; }

    /// <summary>The batch to fill; cleared by whoever fills it.</summary>
    public SyscallBatch Batch { get; }

    /// <summary>The signal that ends a batch: one that the program neither handles nor has pending.</summary>
    public int EndSignal { get; set; } = SIGURG;

    /// <summary>Makes a scratch mapping in a stopped task's address space.</summary>
    /// <param name="task">The task, its registers loaded.</param>
    /// <param name="syscallInstruction">A <c>syscall</c> instruction in its memory, mapped executable.</param>
    /// <param name="address">Where the mapping shall lie, or 0 for the kernel's choice.</param>
    public static RemoteSpace Create(Tracee task, RemoteAddress syscallInstruction, ulong address = 0)
    {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | (address == 0 ? 0 : MAP_FIXED_NOREPLACE);
        SysResult mapped = task.StepCall(
            syscallInstruction, SyscallNumber.mmap, (long)address, SyscallBatch.ScratchBytes, PROT_READ | PROT_WRITE | PROT_EXEC, flags, -1);
        if (mapped.Failed)
        {
            throw new CheckpointException(ErrorCode.SystemCall, "the process cannot map the 256 KiB of memory that saving it takes")
            {
                Pid = task.Tid,
                Errno = mapped.Errno,
                Remedy = "Raise its address space limit (RLIMIT_AS), or vm.max_map_count",
            };
        }

        return new RemoteSpace(new RemoteAddress((ulong)mapped.Raw), syscallInstruction);
    }

    /// <summary>Runs <see cref="Batch"/> in <paramref name="task"/>, which then stands stopped, still borrowed.</summary>
    /// <exception cref="CheckpointException">The task ended, or a call that had to succeed failed.</exception>
    public void Run(Tracee task)
    {
        if (Batch.Count == 0) return;
        Start(task);
        Finish(task);
    }

    /// <summary>Starts <see cref="Batch"/> in <paramref name="task"/>: <see cref="Finish"/> must follow.</summary>
    public void Start(Tracee task)
    {
        Batch.Load(task, EndSignal);
        Sys.Ptrace(PTRACE_CONT, task.Tid).OrThrow("ptrace(CONT)", $"task {task.Tid}");
    }

    /// <summary>Waits for the end of the batch and fetches its results.</summary>
    public void Finish(Tracee task)
    {
        for (; ; )
        {
            TaskStop stop = task.Wait();
            if (stop.Ended) throw task.Died(stop);
            if (stop.Event == 0 && stop.Signal == EndSignal) break;
            if (stop.Event == 0 && stop.Signal is SIGSEGV or SIGBUS or SIGILL or SIGTRAP or SIGSYS)
            {
                throw new CheckpointException(ErrorCode.Internal, $"a batch of remote calls stopped with signal {stop.Signal}") { Pid = task.Tid };
            }

            Sys.Ptrace(PTRACE_CONT, task.Tid).OrThrow("ptrace(CONT)", $"task {task.Tid}");
        }

        Batch.Unload(task.Tid);
        Batch.Check(task.Tid);
    }

    /// <summary>Unmaps the scratch mapping by a single call of <paramref name="task"/>.</summary>
    public void Remove(Tracee task) => RemoveAt(task, SyscallInstruction);

    /// <summary>As <see cref="Remove"/>, through another <c>syscall</c> instruction.</summary>
    public void RemoveAt(Tracee task, RemoteAddress syscallInstruction) =>
        task.StepCall(syscallInstruction, SyscallNumber.munmap, Batch.Scratch, SyscallBatch.ScratchBytes);

    /// <summary>Frees the engine's side; the mapping itself is <see cref="Remove"/>'s business.</summary>
    public void Dispose() => Batch.Dispose();
}
