namespace CriuPmem.Engine;

/// <summary>What dump and restore have in common. Names follow the command line's (criu(8)).</summary>
public abstract class CommonOptions
{
    /// <summary>An open descriptor of the images directory; the caller owns it.</summary>
    public int ImagesDirectoryFd { get; set; } = -1;

    /// <summary>The images directory's path as the user gave it, for messages.</summary>
    public string ImagesDirectory { get; set; } = ".";

    /// <summary>An open descriptor of the work directory (logs, statistics, pid file); the images directory's if none was given.</summary>
    public int WorkDirectoryFd { get; set; } = -1;

    /// <summary>The images lie on persistent memory, or shall be treated so (--use-pmem).</summary>
    public bool UsePmem { get; set; }

    /// <summary>The tree belongs to a shell's session and terminal (--shell-job).</summary>
    public bool ShellJob { get; set; }

    /// <summary>File locks are saved and taken again (--file-locks).</summary>
    public bool FileLocks { get; set; }

    /// <summary>Deleted files that still have other names may be linked (--link-remap).</summary>
    public bool LinkRemap { get; set; }

    /// <summary>Established TCP connections are restored closed (--tcp-close).</summary>
    public bool TcpClose { get; set; }

    /// <summary>What to compare before a file is opened again (--file-validation).</summary>
    public FileValidation FileValidation { get; set; } = FileValidation.BuildId;

    /// <summary>Which CPU features are compared (--cpu-cap).</summary>
    public CpuCapability CpuCapability { get; set; } = CpuCapability.Default;

    /// <summary>The user named the CPU features to compare: then their image must be there.</summary>
    public bool CpuCapabilityGiven { get; set; }

    /// <summary>Resources that stay outside: file[mnt_id:inode], tty[rdev:dev], unix[inode] (--external).</summary>
    public IList<string> External { get; } = [];

    /// <summary>Run without root's rights (--unprivileged).</summary>
    public bool Unprivileged { get; set; }

    /// <summary>Seconds until the operation gives up; 0 for never (--timeout).</summary>
    public int TimeoutSeconds { get; set; } = 10;

    /// <summary>Called at every hook of the operation (criu(8), --action-script).</summary>
    /// <remarks>Arguments: the hook's name and the root task's pid where it has one, else 0. False refuses.</remarks>
    public Func<string, int, bool> OnHook { get; set; } = static (_, _) => true;

    /// <summary>Where the operation tells what it does.</summary>
    public EngineLog Log { get; set; } = EngineLog.None;
}
