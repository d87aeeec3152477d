using CriuPmem.Cli.Hooks;
using CriuPmem.Cli.Options;
using CriuPmem.Engine;
using CriuPmem.Engine.Check;
using CriuPmem.Engine.Memory;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>What dump and restore alike have open while they run: directories, log, action scripts.</summary>
internal sealed unsafe class Session : IDisposable
{
    private const int O_DIRECTORY = 0x10000;
    private const int O_CLOEXEC = 0x80000;
    private const int O_WRONLY_CREAT_TRUNC_APPEND = 1 | 0x40 | 0x200 | 0x400;
    private const int O_NONBLOCK = 0x800;
    private const int F_SETFL = 4;
    private const int AT_FDCWD = -100;
    private const int StandardError = 2;

    private readonly List<int> _owned = [];

    private Session(string operation, Reporter reporter)
    {
        Operation = operation;
        Reporter = reporter;
    }

    /// <summary>dump or restore.</summary>
    public string Operation { get; }

    /// <summary>What is said to the user.</summary>
    public Reporter Reporter { get; }

    /// <summary>The images directory as the user gave it.</summary>
    public string ImagesDirectory { get; private set; } = ".";

    /// <summary>The images directory.</summary>
    public int ImagesFd { get; private set; } = -1;

    /// <summary>The work directory, which is also the current one while the session lasts.</summary>
    public int WorkFd { get; private set; } = -1;

    /// <summary>The log.</summary>
    public EngineLog Log { get; private set; } = EngineLog.None;

    /// <summary>The action scripts.</summary>
    public ActionScripts Scripts { get; private set; } = null!;

    /// <summary>Opens everything.</summary>
    /// <exception cref="CheckpointException">A directory or the log cannot be used.</exception>
    public static Session Open(Invocation given, Reporter reporter)
    {
        ResourceLimit.RaiseOpenFiles();
        var session = new Session(given.Command.Name, reporter);
        try
        {
            session.OpenDirectories(given);
            session.OpenLog(given);
            session.Scripts = new ActionScripts(given.Get(OptionCatalog.ActionScript), session.ImagesFd, session.Log);
            foreach (string warning in given.Warnings) reporter.Warn("config", warning);
            if (given.Get(OptionCatalog.UsePmem)) session.LookAtMemory();
            if (given.Get(OptionCatalog.LogPid)) session.Log.Info("log", $"--log-pid: this log holds the lines of every process");
            return session;
        }
        catch (CheckpointException)
        {
            session.Dispose();
            throw;
        }
    }

    /// <summary>Gives the engine what the session holds.</summary>
    public void Fill(CommonOptions options)
    {
        options.ImagesDirectoryFd = ImagesFd;
        options.ImagesDirectory = ImagesDirectory;
        options.WorkDirectoryFd = WorkFd;
        options.Log = Log;
        options.OnHook = Scripts.Run;
    }

    /// <summary>Makes of whatever ended the operation a failure that says what the user has to do with it.</summary>
    public CheckpointException Complete(Exception ended)
    {
        CheckpointException failure = Application.AsFailure(ended, Log);
        failure.Operation ??= Operation;
        if (failure.Code == ErrorCode.ActionRefused && Scripts.CannotRun is { } broken)
        {
            return new CheckpointException(ErrorCode.ActionRefused, "it cannot be executed")
            {
                Operation = failure.Operation,
                Object = broken.Script,
                Errno = broken.Errno,
                Remedy = "Look at its path (a name without / is looked for in PATH, another one from the work directory on), at its x permission, and at the program behind its #!.",
            };
        }

        if (failure.Code == ErrorCode.ActionRefused && Scripts.Refusal is not null) failure.Object ??= Scripts.Refusal;
        return failure;
    }

    private void OpenDirectories(Invocation given)
    {
        ImagesDirectory = given.Get(OptionCatalog.ImagesDirectory) ?? ".";
        ImagesFd = OpenDirectory(ImagesDirectory, "-D");
        string? work = given.Get(OptionCatalog.WorkDirectory);
        WorkFd = work is null ? ImagesFd : OpenDirectory(work, "-W");
        // As the peer: names of logs, pid files and scripts are relative to it, and scripts run in it.
        Syscall.Invoke(SyscallNumber.fchdir, WorkFd).OrThrow("fchdir", work ?? ImagesDirectory);
    }

    private int OpenDirectory(string path, string option)
    {
        SysResult opened;
        fixed (byte* name = LinuxText.EncodeZ(path)) opened = Syscall.Invoke(SyscallNumber.openat, AT_FDCWD, (long)name, O_DIRECTORY | O_CLOEXEC);
        if (opened.Failed)
        {
            throw new CheckpointException(ErrorCode.ImagesDirectory, option == "-D" ? "the images directory cannot be opened" : "the work directory cannot be opened")
            {
                Operation = Operation,
                Object = path,
                Errno = opened.Errno,
                Remedy = opened.Errno switch
                {
                    Errno.ENOENT when Operation == "restore" => $"Give the directory that was dumped to, with {option}.",
                    Errno.ENOENT => $"Create it first (mkdir -p), or give another one with {option}.",
                    _ => $"Give another one with {option}.",
                },
            };
        }

        _owned.Add(opened.Value);
        return opened.Value;
    }

    private void OpenLog(Invocation given)
    {
        int level = given.Get(OptionCatalog.Verbosity);
        Reporter.Silent = level == EngineLog.LevelMessage;
        string? path = given.Get(OptionCatalog.LogFile);
        int fd = path is null ? StandardError : CreateLog(path);
        Log = new EngineLog(fd, level);
        Reporter.Log = Log;
        Reporter.LogIsFile = path is not null;
        if (!Log.IsEnabled(EngineLog.LevelInfo)) return;
        SmallFile.TryRead("/proc/version", out byte[] kernel);
        Log.Info("criu-pmem", $"Version: {ProgramVersion.Own}");
        Log.Info("criu-pmem", $"Running on {LinuxText.Decode(kernel).TrimEnd('\n')}");
    }

    private int CreateLog(string path)
    {
        SysResult opened;
        fixed (byte* name = LinuxText.EncodeZ(path))
        {
            opened = Syscall.Invoke(SyscallNumber.openat, WorkFd, (long)name, O_WRONLY_CREAT_TRUNC_APPEND | O_NONBLOCK | O_CLOEXEC, 0x180 /* 0600 */);
        }

        if (opened.Errno == Errno.ENXIO) // as a FIFO that somebody reads it is welcome
        {
            throw new CheckpointException(ErrorCode.SystemCall, "the log file is a FIFO that nobody reads")
            {
                Operation = Operation,
                Object = path,
                Remedy = "Start its reader first, or give another name with -o.",
            };
        }

        if (opened.Failed)
        {
            throw new CheckpointException(ErrorCode.SystemCall, "the log file cannot be written")
            {
                Operation = Operation,
                Object = path,
                Errno = opened.Errno,
                Remedy = "Its name is relative to the work directory (-W, else -D).",
            };
        }

        _owned.Add(opened.Value);
        Syscall.Invoke(SyscallNumber.fcntl, opened.Value, F_SETFL, 1 | 0x400); // only opening it must not wait
        return opened.Value;
    }

    private void LookAtMemory()
    {
        PersistentMemoryKind kind = PersistentMemory.Of(ImagesFd);
        Log.Info("pmem", $"{ImagesDirectory} lies on {kind}");
        if (Operation is "dump" or "pre-dump") Log.Info("pmem", $"pages go to {CopyWays.Describe(kind)}");
        if (kind != PersistentMemoryKind.None) return;
        Reporter.Warn("pmem", $"--use-pmem: {ImagesDirectory} lies neither on a DAX file system nor on a tmpfs; going on as on a disk");
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (int fd in _owned) Syscall.Invoke(SyscallNumber.close, fd);
        Reporter.Log = Reporter.LogIsFile ? null : Reporter.Log;
    }
}
