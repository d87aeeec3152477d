using CriuPmem.Kernel;

namespace CriuPmem.Cli.Hooks;

/// <summary>Runs the user's action scripts at the stages of a dump or restore (criu(8), --action-script).</summary>
/// <remarks>
/// A script gets the environment of criu-pmem, with CRTOOLS_SCRIPT_ACTION (the stage), CRTOOLS_IMAGE_DIR (a path of the
/// images directory) and, where there is a root process, CRTOOLS_INIT_PID. It has no arguments, and runs in the work
/// directory. Every script runs at every stage; one that does not exit with 0 refuses.
/// </remarks>
/// <param name="scripts">Programs: paths, relative to the work directory, or names that PATH is searched for.</param>
/// <param name="imagesDirectoryFd">The images directory.</param>
/// <param name="log">Where failures are told.</param>
internal sealed unsafe class ActionScripts(IReadOnlyList<string> scripts, int imagesDirectoryFd, EngineLog log)
{
    private const int SIGPIPE = 13;

    /// <summary>What the first script that refused did, for a person; null while all agreed.</summary>
    public string? Refusal { get; private set; }

    /// <summary>The first script that could not be executed, and why; null while all could, or another one refused before.</summary>
    public (string Script, Errno Errno)? CannotRun { get; private set; }

    /// <summary>Runs all scripts for one stage; false when one of them refused.</summary>
    /// <param name="stage">pre-dump, post-dump …</param>
    /// <param name="rootPid">The root process, or 0.</param>
    public bool Run(string stage, int rootPid)
    {
        bool agreed = true;
        foreach (string script in scripts)
        {
            log.Debug("action-scripts", $"Running {stage} script {script}");
            string? failure = RunOne(script, stage, rootPid);
            if (failure is null) continue;
            agreed = false;
            Refusal ??= $"action script {script} ({stage}) {failure}";
            // The first is told as the failure; after the commit nobody asks.
            if (stage is "pre-resume" or "post-resume" || scripts.Count > 1) log.Warn("action-scripts", $"Script {script} ({stage}) {failure}");
        }

        return agreed;
    }

    private string? RunOne(string script, string stage, int rootPid)
    {
        byte[][] environment = BuildEnvironment(stage, rootPid);
        byte[] name = LinuxText.EncodeZ(script);
        string[] places = script.Contains('/') ? [script] : [.. SearchPath().Select(directory => directory + "/" + script)];
        (int status, Errno errno) = Execute([.. places.Select(static place => LinuxText.EncodeZ(place))], [name], environment);
        // As execvp(3): a text file without "#!" is a script of the shell.
        if (errno == Errno.ENOEXEC)
        {
            byte[][] shell = ["/bin/sh\0"u8.ToArray(), LinuxText.EncodeZ(places[^1])];
            (status, errno) = Execute([shell[0]], shell, environment);
        }

        if (errno != Errno.None && Refusal is null) CannotRun ??= ($"action script {script} ({stage})", errno);
        return errno != Errno.None ? $"cannot be executed: {errno.Describe()}"
            : status == 0 ? null
            : status >= 128 ? $"was killed by signal {status - 128}"
            : $"exited with {status}";
    }

    /// <summary>Executes the first of several programs that can be executed, and waits for it.</summary>
    private static (int Status, Errno Errno) Execute(byte[][] programs, byte[][] arguments, byte[][] environment)
    {
        using var block = new NativeStrings();
        nint* argv = block.Array(arguments);
        nint* envp = block.Array(environment);
        // struct sigaction of the kernel: handler SIG_DFL, no flags. The runtime ignores SIGPIPE; a script must not.
        ulong* action = stackalloc ulong[4];
        new Span<ulong>(action, 4).Clear();
        var calls = new ChildCalls.Call[programs.Length + 1];
        calls[0] = new ChildCalls.Call(SyscallNumber.rt_sigaction, SIGPIPE, (long)action, 0, 8);
        for (int i = 0; i < programs.Length; i++)
        {
            calls[i + 1] = new ChildCalls.Call(SyscallNumber.execve, block.String(programs[i]), (long)argv, (long)envp);
            calls[i + 1].Result = 1;
        }

        SysResult started = ChildCalls.Start(calls, ChildCalls.UntilExec);
        if (started.Failed) return (-1, started.Errno);
        int status = ChildExit.Wait(started.Value);
        Interruption.Settle();
        // Where the last call has a result, none succeeded: an execve that succeeds does not return.
        long last = calls[^1].Result;
        return last == 1 ? (status, Errno.None) : (status, WorstOf(calls));
    }

    // EACCES or ENOEXEC in one directory tells more than ENOENT in the last one.
    private static Errno WorstOf(ReadOnlySpan<ChildCalls.Call> calls)
    {
        Errno worst = Errno.ENOENT;
        foreach (ChildCalls.Call call in calls[1..])
        {
            Errno errno = new SysResult(call.Result).Errno;
            if (errno is not (Errno.ENOENT or Errno.ENOTDIR)) worst = errno;
        }

        return worst;
    }

    private byte[][] BuildEnvironment(string stage, int rootPid)
    {
        var variables = new List<byte[]>();
        // Raw, since names and values are bytes.
        SmallFile.TryRead("/proc/self/environ", out byte[] own);
        foreach (Range range in own.AsSpan().TrimEnd((byte)0).Split((byte)0))
        {
            ReadOnlySpan<byte> variable = own.AsSpan(range);
            if (!variable.IsEmpty && !variable.StartsWith("CRTOOLS_"u8)) variables.Add([.. variable, 0]);
        }

        int self = Syscall.Quick(SyscallNumber.getpid).Value;
        variables.Add(LinuxText.EncodeZ("CRTOOLS_SCRIPT_ACTION=" + stage));
        variables.Add(LinuxText.EncodeZ($"CRTOOLS_IMAGE_DIR=/proc/{self}/fd/{imagesDirectoryFd}"));
        if (rootPid != 0) variables.Add(LinuxText.EncodeZ($"CRTOOLS_INIT_PID={rootPid}"));
        return [.. variables];
    }

    private static string[] SearchPath() =>
        (Environment.GetEnvironmentVariable("PATH") ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").Split(':');
}
