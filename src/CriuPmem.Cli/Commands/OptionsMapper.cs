using CriuPmem.Cli.Options;
using CriuPmem.Engine;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>From the command line to the engine's options. A front end of another kind fills the same options its own way.</summary>
internal static class OptionsMapper
{
    /// <summary>The options of a dump.</summary>
    /// <exception cref="CheckpointException">Something is missing, or does not fit together.</exception>
    public static DumpOptions ToDump(Invocation given)
    {
        var options = new DumpOptions
        {
            Pid = given.Get(OptionCatalog.Tree),
            GhostLimitBytes = given.Get(OptionCatalog.GhostLimit),
            Sync = given.Get(OptionCatalog.Sync),
            Live = given.Get(OptionCatalog.Live),
            Compression = given.Get(OptionCatalog.Compress),
            HasHooks = given.Get(OptionCatalog.ActionScript).Length > 0,
            TrackMemory = given.Get(OptionCatalog.TrackMemory),
            PreviousImages = given.Get(OptionCatalog.PreviousImages),
            AutoDedup = given.Get(OptionCatalog.AutoDedup),
            DedupPages = given.Get(OptionCatalog.DedupPages),
            ExternalUnixSockets = given.Has(OptionCatalog.ExtUnixSk),
            FinalState = given.Get(OptionCatalog.LeaveRunning) ? FinalState.Running
                : given.Get(OptionCatalog.LeaveStopped) ? FinalState.Stopped
                : FinalState.Killed,
        };
        if (options.AutoDedup && options.PreviousImages is null)
        {
            throw new CheckpointException(ErrorCode.Usage, "--auto-dedup only makes sense with --prev-images-dir")
            {
                Operation = "dump",
                Remedy = "Name the snapshot before with --prev-images-dir, or leave --auto-dedup out.",
            };
        }

        if (given.Get(OptionCatalog.Stream) && (given.Command == CommandSpec.PreDump || options.PreviousImages is not null || options.TrackMemory))
        {
            throw new CheckpointException(ErrorCode.Usage, "a chain of snapshots cannot be streamed")
            {
                Operation = given.Command.Name,
                Remedy = "Dump the whole at once with dump --stream, or leave --stream out.",
            };
        }

        if (options.DedupPages && (given.Command == CommandSpec.PreDump || options.PreviousImages is not null || options.TrackMemory || options.Live == true || given.Get(OptionCatalog.Stream)))
        {
            throw new CheckpointException(ErrorCode.Usage, "--dedup-pages is for a whole dump of a tree that stands still, into a directory")
            {
                Operation = given.Command.Name,
                Remedy = "Leave --dedup-pages out, or pre-dump, --prev-images-dir, --track-mem, --live and --stream.",
            };
        }

        if (options.Pid == 0)
        {
            throw new CheckpointException(ErrorCode.Usage, "no process is given") { Operation = "dump", Remedy = "Name the root of the tree with -t PID." };
        }

        FillCommon(options, given);
        return options;
    }

    /// <summary>The options of a restore.</summary>
    /// <exception cref="CheckpointException">Something does not fit together.</exception>
    public static RestoreOptions ToRestore(Invocation given)
    {
        var options = new RestoreOptions
        {
            Detached = given.Get(OptionCatalog.RestoreDetached),
            Sibling = given.Get(OptionCatalog.RestoreSibling),
            LeaveStopped = given.Get(OptionCatalog.LeaveStopped),
            Lazy = given.Get(OptionCatalog.Lazy),
            PagerCommand = PagerCommand.Words,
            SkipFileRwxCheck = given.Get(OptionCatalog.SkipFileRwxCheck),
        };
        if (options.Sibling && !options.Detached)
        {
            throw new CheckpointException(ErrorCode.Usage, "--restore-sibling only makes sense with --restore-detached")
            {
                Operation = "restore",
                Remedy = "Write -d -S.",
            };
        }

        foreach (string argument in given.Get(OptionCatalog.InheritFd))
        {
            (string key, int fd) = ExternalResource.ParseInherited(argument);
            RequireOpen(fd, argument);
            options.InheritFd[key] = fd;
        }

        FillCommon(options, given);
        return options;
    }

    /// <summary>The options of an estimate.</summary>
    /// <exception cref="CheckpointException">No process is given.</exception>
    public static EstimateOptions ToEstimate(Invocation given)
    {
        var options = new EstimateOptions
        {
            Pid = given.Get(OptionCatalog.Tree),
            GhostLimitBytes = given.Get(OptionCatalog.GhostLimit),
            Sync = given.Get(OptionCatalog.Sync),
        };
        if (options.Pid == 0)
        {
            throw new CheckpointException(ErrorCode.Usage, "no process is given") { Operation = "estimate", Remedy = "Name the root of the tree with -t PID." };
        }

        FillCommon(options, given);
        return options;
    }

    /// <summary>The options of a look at CPU features.</summary>
    public static CpuInfoOptions ToCpuInfo(Invocation given)
    {
        var options = new CpuInfoOptions();
        FillCommon(options, given);
        return options;
    }

    private static void FillCommon(CommonOptions options, Invocation given)
    {
        options.UsePmem = given.Get(OptionCatalog.UsePmem);
        options.ShellJob = given.Get(OptionCatalog.ShellJob);
        options.FileLocks = given.Get(OptionCatalog.FileLocks);
        options.LinkRemap = given.Get(OptionCatalog.LinkRemap);
        options.TcpClose = given.Get(OptionCatalog.TcpClose);
        options.FileValidation = given.Get(OptionCatalog.FileValidation);
        options.CpuCapability = given.Get(OptionCatalog.CpuCapability);
        options.CpuCapabilityGiven = given.Has(OptionCatalog.CpuCapability);
        options.Unprivileged = given.Get(OptionCatalog.Unprivileged);
        options.TimeoutSeconds = given.Get(OptionCatalog.Timeout);
        foreach (string resource in given.Get(OptionCatalog.External))
        {
            ExternalResource.Check(resource);
            options.External.Add(resource);
        }

        foreach (string inode in given.Get(OptionCatalog.ExtUnixSk)) options.External.Add($"unix[{inode}]");
    }

    private static void RequireOpen(int fd, string argument)
    {
        const int F_GETFD = 1;
        if (!Syscall.Quick(SyscallNumber.fcntl, fd, F_GETFD).Failed) return;
        throw new CheckpointException(ErrorCode.Usage, $"descriptor {fd} is not open")
        {
            Object = "--inherit-fd " + argument,
            Remedy = $"Open it for criu-pmem, for example with {fd}<FILE or {fd}>FILE behind the command.",
        };
    }
}
