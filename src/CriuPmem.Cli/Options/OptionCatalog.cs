using CriuPmem.Engine;
using CriuPmem.Images;

namespace CriuPmem.Cli.Options;

/// <summary>Every option the program knows. Names, short forms and defaults are those of CRIU 4.2's manual.</summary>
internal static partial class OptionCatalog
{
    /// <summary>-t.</summary>
    public static OptionSpec<int> Tree { get; } = new()
    {
        Name = "tree",
        Short = 't',
        Shape = ValueShape.Required,
        ValueName = "PID",
        Group = OptionGroup.Dump,
        Convert = Values.Pid,
        Help = "dump the process PID with all its descendants",
    };

    /// <summary>-R.</summary>
    public static OptionSpec<bool> LeaveRunning { get; } = Flag(OptionGroup.Dump, "leave-running", 'R',
        "leave the tree running afterwards, instead of killing it");

    /// <summary>--ghost-limit.</summary>
    public static OptionSpec<long> GhostLimit { get; } = new()
    {
        Name = "ghost-limit",
        Shape = ValueShape.Required,
        ValueName = "SIZE",
        Group = OptionGroup.Dump,
        Convert = Values.Size,
        Default = 1 << 20,
        Help = "save deleted files that are still open up to this size (bytes, or with K, M, G; default 1M)",
    };

    /// <summary>--live, --no-live.</summary>
    public static OptionSpec<bool?> Live { get; } = new()
    {
        Name = "live",
        Group = OptionGroup.Dump,
        Convert = static words => Values.Flag(words),
        Help = "copy memory while the tree runs, and stand it still for the last of it only (with -R and more than 32 MiB by itself, but never to a page server); --no-live does not",
    };

    /// <summary>--live-mode.</summary>
    public static OptionSpec<LiveMode?> LiveMode { get; } = new()
    {
        Name = "live-mode",
        Shape = ValueShape.Required,
        ValueName = "MODE",
        Group = OptionGroup.Dump,
        Convert = static words => Values.LiveMode(words),
        Help = "how --live does it: copy (again and again, what was written), twins (from copy-on-write copies of the processes), or auto (default: what stands the tree still for less)",
    };

    /// <summary>-c, --compress.</summary>
    public static OptionSpec<PageCompression?> Compress { get; } = new()
    {
        Name = "compress",
        Short = 'c',
        Shape = ValueShape.Optional,
        ValueName = "METHOD",
        Group = OptionGroup.Dump,
        Convert = Values.Compression,
        Help = "compress saved memory with METHOD, lz4 (default) or zstd, and with :LEVEL behind more or less of it (lz4:1 to 12, zstd:1 to 19); "
            + "CRIU does not read that: see the command decompress",
    };

    /// <summary>--track-mem.</summary>
    public static OptionSpec<bool> TrackMemory { get; } = Flag(OptionGroup.Dump, "track-mem", '\0',
        "tell from now on which memory is written, for the next snapshot of a chain (pre-dump does it by itself)");

    /// <summary>--prev-images-dir.</summary>
    public static OptionSpec<string?> PreviousImages { get; } = Text(OptionGroup.Dump, "prev-images-dir", "DIR",
        "save only memory written since the snapshot in DIR, a path as seen from the images directory");

    /// <summary>--auto-dedup.</summary>
    public static OptionSpec<bool> AutoDedup { get; } = Flag(OptionGroup.Dump, "auto-dedup", '\0',
        "free the pages of earlier snapshots that are saved anew");

    /// <summary>--dedup-pages.</summary>
    public static OptionSpec<bool> DedupPages { get; } = Flag(OptionGroup.Dump, "dedup-pages", '\0',
        "store pages that processes share since a fork once for all of them");

    /// <summary>--pre-dump-mode.</summary>
    public static OptionSpec<string?> PreDumpMode { get; } = new()
    {
        Name = "pre-dump-mode",
        Shape = ValueShape.Required,
        ValueName = "MODE",
        Group = OptionGroup.Dump,
        Convert = Values.PreDumpMode,
        Help = "splice or read: accepted for CRIU's sake; memory is copied in one way, while the program runs",
    };

    /// <summary>--recycle.</summary>
    public static OptionSpec<bool> Recycle { get; } = Flag(OptionGroup.Dump, "recycle", '\0',
        "keep the pages files of the snapshot that this one replaces, and write the next ones into them: twice the room, less time");

    /// <summary>--sync, negated as --no-sync.</summary>
    public static OptionSpec<bool> Sync { get; } = new()
    {
        Name = "sync",
        Group = OptionGroup.Dump,
        Convert = Values.Flag,
        Default = true,
        Help = "make the images safe against power loss before success is reported (default); --no-sync for images that are thrown away",
    };

    /// <summary>-d.</summary>
    public static OptionSpec<bool> RestoreDetached { get; } = Flag(OptionGroup.Restore, "restore-detached", 'd',
        "return as soon as the tree runs, instead of waiting for its root process to end");

    /// <summary>-S.</summary>
    public static OptionSpec<bool> RestoreSibling { get; } = Flag(OptionGroup.Restore, "restore-sibling", 'S',
        "make the root process a child of criu-pmem's caller (with -d)");

    /// <summary>--lazy, --no-lazy.</summary>
    public static OptionSpec<bool?> Lazy { get; } = new()
    {
        Name = "lazy",
        Group = OptionGroup.Restore,
        Convert = static words => Values.Flag(words),
        Help = "let the tree run at once, and bring its memory back while it runs, what it touches first (with --use-pmem and more than 256 MiB by itself); --no-lazy brings it back before",
    };

    /// <summary>--pidfile.</summary>
    public static OptionSpec<string?> PidFile { get; } = Text(OptionGroup.Restore, "pidfile", "FILE",
        "write the root process's pid (of a server: its own) to FILE, which must not exist yet");

    /// <summary>--inherit-fd.</summary>
    public static OptionSpec<string[]> InheritFd { get; } = Texts(OptionGroup.Restore, "inherit-fd", "fd[N]:RES",
        "use criu-pmem's own descriptor N for the saved file RES: tty[rdev:dev], pipe[inode], socket[inode], "
        + "file[mnt_id:inode], /memfd:name or a path");

    /// <summary>--skip-file-rwx-check.</summary>
    public static OptionSpec<bool> SkipFileRwxCheck { get; } = Flag(OptionGroup.Restore, "skip-file-rwx-check", '\0',
        "do not compare the access bits (r/w/x) of files that are opened again");

    /// <summary>-D.</summary>
    public static OptionSpec<string?> ImagesDirectory { get; } = Text(OptionGroup.Snapshot, "images-dir", "DIR",
        "directory of the images (default: the current one)", 'D');

    /// <summary>-W.</summary>
    public static OptionSpec<string?> WorkDirectory { get; } = Text(OptionGroup.Snapshot, "work-dir", "DIR",
        "directory of log, pid file and statistics, and of action scripts while they run (default: DIR of -D)", 'W');

    /// <summary>--use-pmem.</summary>
    public static OptionSpec<bool> UsePmem { get; } = Flag(OptionGroup.Snapshot, "use-pmem", '\0',
        "the images lie on persistent memory (a DAX file system, or a tmpfs that stands in for one)");

    /// <summary>--stream.</summary>
    public static OptionSpec<bool> Stream { get; } = Flag(OptionGroup.Snapshot, "stream", '\0',
        "dump writes the snapshot to standard output, restore reads it from standard input; no images are left anywhere");

    /// <summary>-s.</summary>
    public static OptionSpec<bool> LeaveStopped { get; } = Flag(OptionGroup.Snapshot, "leave-stopped", 's',
        "leave the tree stopped afterwards");

    /// <summary>--timeout.</summary>
    public static OptionSpec<int> Timeout { get; } = new()
    {
        Name = "timeout",
        Shape = ValueShape.Required,
        ValueName = "SECONDS",
        Group = OptionGroup.Snapshot,
        Convert = Values.Seconds,
        Default = 10,
        Help = "give up when the tree does not stand still, or a lazy-pages daemon does not answer, after SECONDS (default 10; 0: never)",
    };

    /// <summary>--action-script.</summary>
    public static OptionSpec<string[]> ActionScript { get; } = Texts(OptionGroup.Snapshot, "action-script", "FILE",
        "run FILE at every stage; CRTOOLS_SCRIPT_ACTION in its environment names the stage");

    /// <summary>--unprivileged.</summary>
    public static OptionSpec<bool> Unprivileged { get; } = Flag(OptionGroup.Snapshot, "unprivileged", '\0',
        "run without root's rights and accept what cannot be done then; needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN");

    /// <summary>--close.</summary>
    public static OptionSpec<int[]> Close { get; } = new()
    {
        Name = "close",
        Shape = ValueShape.Required,
        ValueName = "FD",
        Group = OptionGroup.General,
        Repeatable = true,
        Convert = Values.Descriptors,
        Default = [],
        Help = "close the descriptor FD before anything else",
    };

    /// <summary>-j.</summary>
    public static OptionSpec<bool> ShellJob { get; } = Flag(OptionGroup.Resources, "shell-job", 'j',
        "the tree belongs to a shell's session and terminal; for dump and restore alike");

    /// <summary>--external.</summary>
    public static OptionSpec<string[]> External { get; } = Texts(OptionGroup.Resources, "external", "RES",
        "RES stays outside the snapshot: file[mnt_id:inode], tty[rdev:dev] or unix[inode]");

    /// <summary>-x.</summary>
    public static OptionSpec<string[]> ExtUnixSk { get; } = new()
    {
        Name = "ext-unix-sk",
        Short = 'x',
        Shape = ValueShape.Optional,
        ValueName = "INODE",
        Group = OptionGroup.Resources,
        Repeatable = true,
        Convert = Values.Inodes,
        Default = [],
        Help = "UNIX datagram sockets may be connected to outside of the tree, and with INODE that socket of any type too; "
            + "restore connects them to the same name again",
    };

    /// <summary>-l.</summary>
    public static OptionSpec<bool> FileLocks { get; } = Flag(OptionGroup.Resources, "file-locks", 'l',
        "save and take file locks; safe when nobody outside the tree uses the files");

    /// <summary>--link-remap.</summary>
    public static OptionSpec<bool> LinkRemap { get; } = Flag(OptionGroup.Resources, "link-remap", '\0',
        "give deleted files that have other names a temporary name, so that restore finds them");

    /// <summary>--tcp-close.</summary>
    public static OptionSpec<bool> TcpClose { get; } = Flag(OptionGroup.Resources, "tcp-close", '\0',
        "restore established TCP connections as closed ones");

    /// <summary>--file-validation.</summary>
    public static OptionSpec<FileValidation> FileValidation { get; } = new()
    {
        Name = "file-validation",
        Shape = ValueShape.Required,
        ValueName = "METHOD",
        Group = OptionGroup.Resources,
        Convert = Values.Validation,
        Default = Engine.FileValidation.BuildId,
        Help = "how restore sees that a file has changed: buildid (default) or filesize",
    };

    /// <summary>--cpu-cap.</summary>
    public static OptionSpec<CpuCapability> CpuCapability { get; } = new()
    {
        Name = "cpu-cap",
        Shape = ValueShape.Optional,
        ValueName = "CAP",
        Group = OptionGroup.Resources,
        Convert = Values.CpuCapabilities,
        Default = Engine.CpuCapability.Default,
        Help = "CPU features that must be the same at restore: fpu, ins, cpu, all, none, with commas between; ^CAP leaves "
            + "one out (default fpu,ins; without CAP: all)",
    };

    /// <summary>--json.</summary>
    public static OptionSpec<bool> Json { get; } = Flag(OptionGroup.Check, "json", '\0',
        "estimate and pmem print one JSON object; sizes in bytes, times in microseconds");

    /// <summary>--all.</summary>
    public static OptionSpec<bool> All { get; } = Flag(OptionGroup.Check, "all", '\0', "the same as --extra --experimental");

    /// <summary>--extra.</summary>
    public static OptionSpec<bool> Extra { get; } = Flag(OptionGroup.Check, "extra", '\0',
        "also check kernel features that only some programs need");

    /// <summary>--experimental.</summary>
    public static OptionSpec<bool> Experimental { get; } = Flag(OptionGroup.Check, "experimental", '\0',
        "also check kernel features that nothing depends on yet");

    /// <summary>--feature.</summary>
    public static OptionSpec<string?> Feature { get; } = Text(OptionGroup.Check, "feature", "NAME",
        "check this feature alone; 'list' prints all names");

    /// <summary>-o.</summary>
    public static OptionSpec<string?> LogFile { get; } = Text(OptionGroup.Log, "log-file", "FILE",
        "write the log to FILE (default: standard error)", 'o');

    /// <summary>-v.</summary>
    public static OptionSpec<int> Verbosity { get; } = new()
    {
        Name = "verbosity",
        Short = 'v',
        Shape = ValueShape.Optional,
        ValueName = "NUM",
        Group = OptionGroup.Log,
        Convert = Values.Level,
        Default = Kernel.EngineLog.LevelWarn,
        Help = "0 nothing, 1 errors, 2 warnings (default), 3 progress, 4 everything; every plain -v adds one (-vv)",
    };

    /// <summary>--log-pid.</summary>
    public static OptionSpec<bool> LogPid { get; } = Flag(OptionGroup.Log, "log-pid", '\0',
        "one log per process: accepted; the one log already holds the lines of every process");

    /// <summary>--display-stats.</summary>
    public static OptionSpec<bool> DisplayStats { get; } = Flag(OptionGroup.Log, "display-stats", '\0',
        "print times and page counts at the end");

    /// <summary>--config.</summary>
    public static OptionSpec<string?> Config { get; } = new()
    {
        Name = "config",
        Shape = ValueShape.Required,
        ValueName = "FILE",
        Group = OptionGroup.General,
        Convert = Values.Text,
        CommandLineOnly = true,
        Help = "read options from FILE too",
    };

    /// <summary>--no-default-config.</summary>
    public static OptionSpec<bool> NoDefaultConfig { get; } = new()
    {
        Name = "no-default-config",
        Group = OptionGroup.General,
        Convert = Values.Flag,
        CommandLineOnly = true,
        Help = "do not read /etc/criu/default.conf, $HOME/.criu/default.conf and $CRIU_CONFIG_FILE",
    };

    /// <summary>-h.</summary>
    public static OptionSpec<bool> Help { get; } = new()
    {
        Name = "help",
        Short = 'h',
        Group = OptionGroup.General,
        Convert = Values.Flag,
        CommandLineOnly = true,
        Help = "print this text",
    };

    /// <summary>-V.</summary>
    public static OptionSpec<bool> Version { get; } = new()
    {
        Name = "version",
        Short = 'V',
        Group = OptionGroup.General,
        Convert = Values.Flag,
        CommandLineOnly = true,
        Help = "print the version",
    };

    /// <summary>The options that work, in the order of the help.</summary>
    public static IReadOnlyList<OptionSpec> Built { get; } =
    [
        ImagesDirectory, WorkDirectory, Stream, UsePmem, LeaveStopped, Timeout, ActionScript, Unprivileged,
        Tree, LeaveRunning, Live, LiveMode, Compress, TrackMemory, PreviousImages, AutoDedup, DedupPages, Recycle, PreDumpMode, GhostLimit, Sync,
        .. RemoteCatalog.All,
        RestoreDetached, RestoreSibling, Lazy, PidFile, InheritFd, SkipFileRwxCheck,
        ShellJob, External, ExtUnixSk, FileLocks, LinkRemap, TcpClose, FileValidation, CpuCapability,
        All, Extra, Experimental, Feature, Json,
        LogFile, Verbosity, LogPid, DisplayStats,
        Config, NoDefaultConfig, Close, Help, Version,
    ];

    /// <summary>Every option: those that work and those that are refused.</summary>
    public static IReadOnlyList<OptionSpec> Every { get; } = [.. Built, .. NotBuilt];

    internal static OptionSpec<bool> Flag(OptionGroup group, string name, char letter, string help) =>
        new() { Name = name, Short = letter, Group = group, Convert = Values.Flag, Help = help };

    internal static OptionSpec<string?> Text(OptionGroup group, string name, string valueName, string help, char letter = '\0') =>
        new()
        {
            Name = name,
            Short = letter,
            Shape = ValueShape.Required,
            ValueName = valueName,
            Group = group,
            Convert = Values.Text,
            Help = help,
        };

    private static OptionSpec<string[]> Texts(OptionGroup group, string name, string valueName, string help) =>
        new()
        {
            Name = name,
            Shape = ValueShape.Required,
            ValueName = valueName,
            Group = group,
            Repeatable = true,
            Convert = Values.Texts,
            Default = [],
            Help = help,
        };
}
