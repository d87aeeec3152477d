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

    /// <summary>check.</summary>
    public static CommandSpec Check { get; } = new("check", "tell whether this kernel has what dump and restore need");

    /// <summary>Every command, those that are refused last.</summary>
    public static IReadOnlyList<CommandSpec> Every { get; } =
    [
        Dump, Restore, Check, PreDump, Dedup,
        new("page-server", "receiving pages from another machine", "Write the images to a directory with dump -D, and copy that."),
        new("lazy-pages", "serving memory on demand", "Use restore: it brings memory back before the program goes on."),
        new("service", "the RPC service", "Use dump and restore."),
        new("swrk", "the RPC worker", "Use dump and restore."),
        new("cpuinfo", "writing and comparing CPU features", "Use --cpu-cap with dump and restore."),
        new("exec", "executing a system call in another process", "CRIU itself no longer offers it."),
    ];

    /// <summary>The command of this name, or null.</summary>
    public static CommandSpec? Find(string name) => Every.FirstOrDefault(command => command.Name == name);
}
