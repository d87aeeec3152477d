namespace CriuPmem.Kernel;

/// <summary>The engine's own limits (getrlimit(2)), and what is said when one of them, or of the machine's, is reached.</summary>
public static unsafe class ResourceLimit
{
    private const int RLIMIT_NOFILE = 7;

    /// <summary>Open files up to the hard limit: a copy of every open file of a tree passes through the engine.</summary>
    public static void RaiseOpenFiles()
    {
        ulong* limit = stackalloc ulong[2]; // soft, hard
        if (Syscall.Invoke(SyscallNumber.prlimit64, 0, RLIMIT_NOFILE, 0, (long)limit).Failed || limit[0] == limit[1]) return;
        limit[0] = limit[1];
        Syscall.Invoke(SyscallNumber.prlimit64, 0, RLIMIT_NOFILE, (long)limit, 0);
    }

    /// <summary>How many open files the engine may have, by number.</summary>
    public static ulong OpenFiles
    {
        get
        {
            ulong* limit = stackalloc ulong[2];
            return Syscall.Invoke(SyscallNumber.prlimit64, 0, RLIMIT_NOFILE, 0, (long)limit).Failed ? ulong.MaxValue : limit[0];
        }
    }

    /// <summary>
    /// The failure as it is; or, when the limit of open files is behind it, one that says so. Where it is reached is a matter of
    /// chance, and what is seen of it there may be anything (a process that seems to be gone): so all failures pass here.
    /// </summary>
    public static CheckpointException Explain(CheckpointException failure)
    {
        Errno own = Syscall.Exhausted;
        if (failure.Code is ErrorCode.LimitReached or ErrorCode.Interrupted or ErrorCode.ActionRefused or ErrorCode.Usage) return failure;
        if (failure.Errno == Errno.EAGAIN && failure.Cause.StartsWith("clone3 ", StringComparison.Ordinal))
        {
            CheckpointException tasks = NoMoreTasks("a process or thread cannot be made");
            (tasks.Operation, tasks.Pid, tasks.ProcessName, tasks.Object) = (failure.Operation, failure.Pid, failure.ProcessName, failure.Object);
            return tasks;
        }

        if (failure.Errno is not (Errno.EMFILE or Errno.ENFILE))
        {
            if (own == Errno.None) return failure;
            failure.Remedy = $"Perhaps because {Reached(own)}: {Advice(own)}{(failure.Remedy is null ? "" : " Else: ")}{failure.Remedy}";
            return failure;
        }

        // A remote call that fails so tells of the process's own limit.
        bool ofProcess = failure.Errno == Errno.EMFILE && own == Errno.None && failure.Pid != 0;
        return new CheckpointException(ErrorCode.LimitReached, ofProcess ? $"the process has as many open files as it may have ({failure.Cause})" : $"{Reached(failure.Errno)} ({failure.Cause})")
        {
            Operation = failure.Operation,
            Pid = failure.Pid,
            ProcessName = failure.ProcessName,
            Object = failure.Object,
            Errno = failure.Errno,
            Remedy = ofProcess ? $"Raise its limit for a moment: prlimit --nofile=65536 --pid {failure.Pid}." : Advice(failure.Errno),
        };
    }

    /// <summary>What is said when there may be no more processes and threads.</summary>
    /// <param name="cause">What was not possible.</param>
    internal static CheckpointException NoMoreTasks(string cause) => new(ErrorCode.LimitReached, $"{cause}: there may be no more processes and threads here")
    {
        Errno = Errno.EAGAIN,
        Remedy = "Raise pids.max of the control group (TasksMax= in a unit of systemd), ulimit -u, or kernel.threads-max: a dump or restore needs a dozen of its own.",
    };

    private static string Reached(Errno errno) => errno == Errno.ENFILE
        ? "the machine has as many open files as it may have (/proc/sys/fs/file-max)"
        : $"criu-pmem has as many open files as it may have ({OpenFiles})";

    private static string Advice(Errno errno) => errno == Errno.ENFILE
        ? "Raise it (sysctl fs.file-max), or look who has so many (lsof)."
        : "Raise the limit: ulimit -n 65536 in the shell, LimitNOFILE= in a unit of systemd.";
}
