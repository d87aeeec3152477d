namespace CriuPmem.Engine.Check;

/// <summary>A child that makes some calls and then waits, seized and stopped: something for ptrace probes to look at.</summary>
internal sealed unsafe class TracedChild : IDisposable
{
    private const int PTRACE_SEIZE = 0x4206;
    private const int PTRACE_INTERRUPT = 0x4207;
    private const int PR_SET_PDEATHSIG = 1;
    private const int SIGKILL = 9;
    private const int __WALL = 0x40000000;

    private TracedChild(int pid) => Pid = pid;

    /// <summary>Its pid.</summary>
    public int Pid { get; }

    /// <summary>Starts it, and stops it once it waits.</summary>
    /// <param name="options">PTRACE_O_* to seize it with.</param>
    /// <param name="firstCalls">What it does first.</param>
    public static TracedChild Start(long options, params ReadOnlySpan<ChildCalls.Call> firstCalls)
    {
        // The pipe tells that the first calls are done; "pause" is there more than once, in case a signal comes.
        int* pipe = stackalloc int[2];
        Syscall.Invoke(SyscallNumber.pipe2, (long)pipe, 0x80000).OrThrow("pipe2", "probe");
        byte* one = stackalloc byte[1];
        ChildCalls.Call[] calls =
        [
            new(SyscallNumber.prctl, PR_SET_PDEATHSIG, SIGKILL),
            .. firstCalls,
            new(SyscallNumber.write, pipe[1], (long)one, 1),
            new(SyscallNumber.pause),
            new(SyscallNumber.pause),
        ];
        SysResult started = ChildCalls.Start(calls, ChildCalls.Copy);
        Syscall.Invoke(SyscallNumber.close, pipe[1]);
        if (!started.Failed) Syscall.Invoke(SyscallNumber.read, pipe[0], (long)one, 1);
        Syscall.Invoke(SyscallNumber.close, pipe[0]);
        var child = new TracedChild((int)started.OrThrow("clone3", "probe"));
        try
        {
            Syscall.Invoke(SyscallNumber.ptrace, PTRACE_SEIZE, child.Pid, 0, options).OrThrow("ptrace(PTRACE_SEIZE)", "a child");
            Syscall.Invoke(SyscallNumber.ptrace, PTRACE_INTERRUPT, child.Pid).OrThrow("ptrace(PTRACE_INTERRUPT)", "a child");
            Syscall.Invoke(SyscallNumber.wait4, child.Pid, 0, __WALL).OrThrow("wait4", "a child");
            return child;
        }
        catch (CheckpointException)
        {
            child.Dispose();
            throw;
        }
    }

    /// <summary>A ptrace request to it.</summary>
    public SysResult Ptrace(long request, long address = 0, long data = 0) =>
        Syscall.Invoke(SyscallNumber.ptrace, request, Pid, address, data);

    /// <inheritdoc />
    public void Dispose()
    {
        Syscall.Invoke(SyscallNumber.kill, Pid, SIGKILL);
        Syscall.Invoke(SyscallNumber.wait4, Pid, 0, __WALL);
    }
}
