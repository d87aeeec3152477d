namespace CriuPmem.SystemTests;

/// <summary>A program of tests/workloads with its arguments and the options that engines need for it.</summary>
/// <param name="Name">The test's name; the program's too, unless <paramref name="Program"/> says otherwise.</param>
/// <param name="Arguments">Arguments of the program.</param>
/// <param name="Options">Options for both dump and restore.</param>
/// <param name="Program">The program, where several tests share one.</param>
/// <param name="Rounds">Dumps and restores in a row.</param>
internal sealed record Workload(string Name, string Arguments = "", string Options = "", string? Program = null,
    int Rounds = 2)
{
    /// <summary>Programs that only tests of failures start: in a state that cannot be saved, or never twice the same.</summary>
    public static IReadOnlyList<string> Refused { get; } = ["refused_unshared", "tree_forking"];

    public static IReadOnlyList<Workload> All { get; } =
    [
        new("chroot_cwd"),
        new("creds"),
        new("creds_powerless"),
        new("env_exe_cmdline"),
        new("fd_deleted"),
        new("fd_deleted_directory"),
        new("fd_deleted_kinds"),
        new("fd_deleted_linked", Options: "--link-remap"),
        new("fd_deleted_name_taken"),
        new("fd_epoll"),
        new("fd_epoll_4000", "4000", Program: "fd_epoll_stale"),
        new("fd_epoll_stale"),
        new("fd_eventfd"),
        new("fd_eventfd_semaphore"),
        new("fd_external"),
        new("fd_fifo"),
        new("fd_inotify"),
        new("fd_many"),
        new("fd_many_4000", "4000", Program: "fd_many"),
        new("fd_memfd"),
        new("fd_nameless"),
        new("fd_pipe", Rounds: 3),
        new("fd_pipe_ends"),
        new("fd_pipe_packets"),
        new("fd_regular"),
        new("fd_shared_dup"),
        new("fd_signalfd"),
        new("fd_timerfd"),
        new("fd_timerfd_ticking"),
        new("file_leases", Options: "--file-locks"),
        new("file_locks", Options: "--file-locks"),
        new("file_locks_many", "1700", Program: "file_locks", Options: "--file-locks"),
        new("mem_anon", Rounds: 3),
        new("mem_brk"),
        new("mem_churn", Rounds: 3),
        new("mem_cow_fork", Rounds: 3),
        new("mem_deleted_file_map"),
        new("mem_file_private"),
        new("mem_file_shared"),
        new("mem_growing", Rounds: 3),
        new("mem_growsdown"),
        new("mem_guard"),
        new("mem_hot"),
        new("mem_large", Rounds: 1),
        new("mem_many"),
        new("mem_many_50000", "50000", Program: "mem_many"),
        new("mem_memfd"),
        new("mem_mlock_madv"),
        new("mem_mlock_onfault"),
        new("mem_no_children"),
        new("mem_one_instant", Rounds: 3),
        new("mem_reserve_huge"),
        new("mem_seal"),
        new("mem_shared_anon"),
        new("mem_thp"),
        new("prctl_loginuid"),
        new("prctl_pdeathsig"),
        new("prctl_thp_disable"),
        new("regs_xsave", Rounds: 3),
        new("rlimits_sched"),
        new("rseq_cs"),
        new("seccomp_filter"),
        new("seccomp_restart"),
        new("seccomp_strict"),
        new("sig_actions"),
        new("sig_altstack"),
        new("sig_masks_pending"),
        new("sig_trap_ignored"),
        new("sig_while_frozen"),
        new("sk_inet"),
        new("sk_inet_options", "1", Program: "sk_inet"),
        new("sk_multicast"),
        new("sk_options"),
        new("sk_udp_queue"),
        new("sk_unix_dgram"),
        new("sk_unix_external"),
        new("sk_unix_inflight"),
        new("sk_unix_listen"),
        new("sk_unix_stream", Rounds: 3),
        new("syscalls_interrupted", "1"),
        new("syscalls_restart_block", "2", Program: "syscalls_interrupted"),
        new("syscalls_stopped"),
        new("task_extras"),
        new("threads_1000", "1000", Program: "threads_basic"),
        new("threads_basic", Rounds: 3),
        new("threads_leader_ended"),
        new("threads_robust"),
        new("timers_itimer"),
        new("timers_overrun"),
        new("timers_posix"),
        new("tree_200"),
        new("tree_clone_files", "1", Program: "tree_clone_shared"),
        new("tree_clone_fs", "2", Program: "tree_clone_shared"),
        new("tree_clone_sighand", "12", Program: "tree_clone_shared"),
        new("tree_clone_vm", "8", Program: "tree_clone_shared"),
        new("tree_lost_session"),
        new("tree_shapes", Rounds: 3),
        new("tree_vfork", Rounds: 3),
        new("tree_vfork_exec", Rounds: 3),
        new("tty_controlling"),
        new("tty_external"),
        new("tty_pty"),
        new("tty_pty_queues", "1", Program: "tty_pty"),
    ];

    public string Executable => Path.Combine(Machine.Workloads, Program ?? Name);

    public string[] ArgumentList => Arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    public string[] OptionList => Options.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    public static Workload Named(string name) => All.Single(workload => workload.Name == name);
}
