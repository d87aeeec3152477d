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
    public static IReadOnlyList<Workload> All { get; } =
    [
        new("env_exe_cmdline"),
        new("fd_nameless"),
        new("fd_pipe", Rounds: 3),
        new("fd_pipe_packets"),
        new("fd_regular"),
        new("mem_anon", Rounds: 3),
        new("regs_xsave", Rounds: 3),
        new("sig_actions"),
        new("sig_altstack"),
        new("sig_masks_pending"),
        new("sig_trap_ignored"),
        new("threads_basic", Rounds: 3),
        new("threads_1000", "1000", Program: "threads_basic"),
        new("tree_lost_session"),
        new("tree_shapes", Rounds: 3),
    ];

    public string Executable => Path.Combine(Machine.Workloads, Program ?? Name);

    public string[] ArgumentList => Arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    public string[] OptionList => Options.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    public static Workload Named(string name) => All.Single(workload => workload.Name == name);
}
