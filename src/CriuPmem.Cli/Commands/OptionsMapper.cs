using CriuPmem.Cli.Options;
using CriuPmem.Engine;
using CriuPmem.Engine.Lazy;
using CriuPmem.Engine.Transfer;
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
            Recycle = given.Get(OptionCatalog.Recycle),
            Sync = given.Get(OptionCatalog.Sync),
            Live = given.Get(OptionCatalog.Live) ?? (given.Get(OptionCatalog.LiveMode) is null ? null : true),
            LiveMode = given.Get(OptionCatalog.LiveMode) ?? LiveMode.Auto,
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
        if (given.Get(RemoteCatalog.PageServer)) options.PageServer = ToConnect(given, "dump");
        if (given.Get(RemoteCatalog.LazyPages)) options.Lazy = ToListen(given, options);
        if (options.Compression is not null && (options.PageServer is not null || options.Lazy is not null))
        {
            throw new CheckpointException(ErrorCode.Usage, "--compress is for files of the images directory, and the pages go elsewhere")
            {
                Operation = given.Command.Name,
                Remedy = "Leave --compress out, or --page-server and --lazy-pages.",
            };
        }

        if (options.PageServer is not null && options.Live == true)
        {
            throw new CheckpointException(ErrorCode.Usage, "--live copies memory into files of the images directory, not to a page server")
            {
                Operation = "dump",
                Remedy = "Use pre-dump with --page-server ahead of the dump, or leave --live out.",
            };
        }

        if (options.LiveMode == LiveMode.Twins && (options.TrackMemory || options.PreviousImages is not null))
        {
            throw new CheckpointException(ErrorCode.Usage, "--live-mode=twins makes no snapshot of a chain: it is not known what is written after the twins are made")
            {
                Operation = "dump",
                Remedy = "Use --live-mode=copy, or leave --track-mem and --prev-images-dir out.",
            };
        }

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

        if (options.DedupPages && (given.Command == CommandSpec.PreDump || options.PreviousImages is not null || options.TrackMemory || options.Live == true || options.PageServer is not null || options.Lazy is not null || given.Get(OptionCatalog.Stream)))
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
            LazyPages = given.Get(RemoteCatalog.LazyPages),
            PagerCommand = PagerCommand.Words,
            SkipFileRwxCheck = given.Get(OptionCatalog.SkipFileRwxCheck),
        };
        if (options is { Lazy: true, LazyPages: true })
        {
            throw new CheckpointException(ErrorCode.Usage, "--lazy starts a pager of its own, --lazy-pages leaves memory to one that runs already")
            {
                Operation = "restore",
                Remedy = "Give one of them.",
            };
        }

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
            RequireOpen(fd, "--inherit-fd " + argument);
            options.InheritFd[key] = fd;
        }

        FillCommon(options, given);
        return options;
    }

    /// <summary>The options of a page server.</summary>
    public static PageServerOptions ToPageServer(Invocation given)
    {
        var options = new PageServerOptions
        {
            PreviousImages = given.Get(OptionCatalog.PreviousImages),
            AutoDedup = given.Get(OptionCatalog.AutoDedup),
            Sync = given.Get(OptionCatalog.Sync),
            Serve = given.Get(RemoteCatalog.LazyPages),
        };
        FillRemote(options.Remote, given);
        RequireStatusFd(given);
        FillCommon(options, given);
        return options;
    }

    /// <summary>The options of a lazy-pages daemon.</summary>
    public static LazyPagesOptions ToLazyPages(Invocation given)
    {
        var options = new LazyPagesOptions();
        if (given.Get(RemoteCatalog.PageServer)) options.PageServer = ToConnect(given, "lazy-pages");
        RequireStatusFd(given);
        FillCommon(options, given);
        return options;
    }

    /// <summary>Where another engine is to be reached.</summary>
    private static RemoteOptions ToConnect(Invocation given, string operation)
    {
        var remote = new RemoteOptions();
        FillRemote(remote, given);
        if (remote.Socket >= 0 || (remote.Address is not null && remote.Port != 0)) return remote;
        throw new CheckpointException(ErrorCode.Usage, "--page-server needs to know where it is")
        {
            Operation = operation,
            Remedy = "Give --address and --port (or a connection with --ps-socket).",
        };
    }

    /// <summary>Where a dump serves the memory that it left in the processes.</summary>
    private static RemoteOptions ToListen(Invocation given, DumpOptions options)
    {
        RequireStatusFd(given);
        string? conflict = options.PageServer is not null ? "--page-server" : options.Live == true ? "--live" : options.TrackMemory ? "--track-mem" : null;
        if (conflict is not null)
        {
            throw new CheckpointException(ErrorCode.Usage, $"--lazy-pages leaves memory where it is, and {conflict} does not go with that") { Operation = "dump", Remedy = "Leave one of them out." };
        }

        var remote = new RemoteOptions();
        FillRemote(remote, given);
        return remote;
    }

    private static void FillRemote(RemoteOptions remote, Invocation given)
    {
        remote.Address = given.Get(RemoteCatalog.Address);
        remote.Port = given.Get(RemoteCatalog.Port);
        remote.Socket = given.Get(RemoteCatalog.PsSocket);
        if (remote.Socket >= 0) RequireOpen(remote.Socket, $"--ps-socket {remote.Socket}");
        if (given.Get(RemoteCatalog.Tls)) remote.Tls = ToTls(given);
    }

    /// <summary>The files of a secure connection; the defaults are the peer's.</summary>
    private static TlsOptions ToTls(Invocation given)
    {
        const string authority = "/etc/pki/CA/cacert.pem", revoked = "/etc/pki/CA/cacrl.pem";
        // As seen from where the user is: later the work directory is the current one.
        return new TlsOptions
        {
            Authority = Full(given.Get(RemoteCatalog.TlsAuthority)) ?? (File.Exists(authority) ? authority : null),
            Revoked = Full(given.Get(RemoteCatalog.TlsRevoked)) ?? (File.Exists(revoked) ? revoked : null),
            Certificate = Full(given.Get(RemoteCatalog.TlsCertificate)) ?? "/etc/pki/criu/cert.pem",
            Key = Full(given.Get(RemoteCatalog.TlsKey)) ?? "/etc/pki/criu/private/key.pem",
            VerifyName = !given.Get(RemoteCatalog.TlsNoCnVerify),
        };

        static string? Full(string? path) => path is null ? null : Path.GetFullPath(path);
    }

    private static void RequireStatusFd(Invocation given)
    {
        int fd = given.Get(RemoteCatalog.StatusFd);
        if (fd >= 0) RequireOpen(fd, $"--status-fd {fd}");
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
            Object = argument,
            Remedy = $"Open it for criu-pmem, for example with {fd}<FILE or {fd}>FILE behind the command.",
        };
    }
}
