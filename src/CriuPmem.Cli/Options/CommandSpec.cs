namespace CriuPmem.Cli.Options;

/// <summary>One command of the program.</summary>
/// <param name="Name">As it is typed.</param>
/// <param name="Help">What it does: starts in lower case, has no full stop.</param>
/// <param name="Instead">What to do instead, for a command that this version refuses; else null.</param>
internal sealed record CommandSpec(string Name, string Help, string? Instead = null)
{
    /// <summary>dump.</summary>
    public static CommandSpec Dump { get; } = new("dump", "save a process tree, and end it");

    /// <summary>restore.</summary>
    public static CommandSpec Restore { get; } = new("restore", "bring a saved process tree back");

    /// <summary>pre-dump.</summary>
    public static CommandSpec PreDump { get; } = new("pre-dump", "save the memory of a process tree while it runs, ahead of a dump");

    /// <summary>dedup.</summary>
    public static CommandSpec Dedup { get; } = new("dedup", "free the pages of earlier snapshots that the one in DIR of -D has saved anew");

    /// <summary>page-server.</summary>
    public static CommandSpec PageServer { get; } = new("page-server", "receive the memory of a dump from another machine");

    /// <summary>lazy-pages.</summary>
    public static CommandSpec LazyPages { get; } = new("lazy-pages", "fill the memory of a tree that is restored with --lazy-pages while it runs");

    /// <summary>decompress.</summary>
    public static CommandSpec Decompress { get; } = new("decompress", "decompress the snapshot in DIR of -D, and those that it continues, so that CRIU can restore it");

    /// <summary>estimate.</summary>
    public static CommandSpec Estimate { get; } = new("estimate", "tell how large a snapshot of a running tree would be, and how long dump and restore would take; it is not stopped");

    /// <summary>pmem.</summary>
    public static CommandSpec Pmem { get; } = new("pmem", "tell what a directory offers: persistent memory or not, on which devices, how fast, and what a dump will do there") { TakesDirectory = true };

    /// <summary>check.</summary>
    public static CommandSpec Check { get; } = new("check", "tell whether this kernel has what dump and restore need");

    /// <summary>cpuinfo dump.</summary>
    public static CommandSpec CpuInfoDump { get; } = new("cpuinfo dump", "write this CPU's features to cpuinfo.img in the images directory");

    /// <summary>cpuinfo check.</summary>
    public static CommandSpec CpuInfoCheck { get; } = new("cpuinfo check", "compare this CPU with the one in cpuinfo.img");

    /// <summary>A word behind its name is the directory of -D.</summary>
    public bool TakesDirectory { get; init; }

    /// <summary>Its name in one word.</summary>
    public string Token => Name.Replace(' ', '-');

    /// <summary>How many words its name has.</summary>
    public int WordCount => Name.Count(static c => c == ' ') + 1;

    /// <summary>Every command, those that are refused last.</summary>
    public static IReadOnlyList<CommandSpec> Every { get; } =
    [
        Dump, Restore, Check, PreDump, Dedup, Decompress, Estimate, Pmem, PageServer, LazyPages, CpuInfoDump, CpuInfoCheck,
        new("service", "the RPC service", "Use dump and restore."),
        new("swrk", "the RPC worker", "Use dump and restore."),
        new("exec", "executing a system call in another process", "CRIU itself no longer offers it."),
    ];

    /// <summary>The command that words begin with, or null.</summary>
    public static CommandSpec? Find(IReadOnlyList<string> words) =>
        Every.FirstOrDefault(command => command.Name == string.Join(' ', words.Take(command.WordCount)));
}
