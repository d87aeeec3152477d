using System.Text;
using CriuPmem.Cli.Options;

namespace CriuPmem.Cli.Output;

/// <summary>The text of --help: from the catalogues, in groups, at most 80 columns wide.</summary>
internal static class HelpText
{
    private const int Columns = 80;
    private const int Indent = 28;

    private static readonly string[] CpuInfo = [CommandSpec.CpuInfoDump.Name, CommandSpec.CpuInfoCheck.Name];

    private static readonly string[] Servers = [CommandSpec.PageServer.Name, CommandSpec.LazyPages.Name];

    /// <summary>Of the options of dump and restore, those that a server has too.</summary>
    private static readonly OptionSpec[] OfServers =
    [
        OptionCatalog.ImagesDirectory, OptionCatalog.WorkDirectory, OptionCatalog.ActionScript, OptionCatalog.PreviousImages, OptionCatalog.AutoDedup,
        OptionCatalog.Sync, OptionCatalog.PidFile,
    ];

    // Commands that have a few options only, besides those of log and configuration.
    private static readonly (string Command, string[] Options)[] Few =
    [
        (CommandSpec.CpuInfoDump.Name, ["images-dir", "work-dir"]),
        (CommandSpec.CpuInfoCheck.Name, ["images-dir", "work-dir", "cpu-cap"]),
        (CommandSpec.Decompress.Name, ["images-dir", "work-dir"]),
        (CommandSpec.Estimate.Name, ["images-dir", "work-dir", "tree", "ghost-limit", "sync", "json"]),
        (CommandSpec.Pmem.Name, ["images-dir", "json"]),
    ];

    private static readonly (OptionGroup Group, string Title, string[] Commands)[] Groups =
    [
        (OptionGroup.Snapshot, "Snapshot", ["dump", "restore", "decompress", "estimate", "pmem", .. Servers, .. CpuInfo]),
        (OptionGroup.Dump, "Dump", ["dump", "estimate", .. Servers]),
        (OptionGroup.Restore, "Restore", ["restore", .. Servers]),
        (OptionGroup.Resources, "Resources of the tree (dump and restore)", ["dump", "restore", .. CpuInfo]),
        (OptionGroup.Remote, "Memory over the network", ["dump", "restore", .. Servers]),
        (OptionGroup.Check, "Check and estimate", ["check", "estimate", "pmem"]),
        (OptionGroup.Log, "Log and statistics", ["dump", "restore", "check", "decompress", "estimate", "pmem", .. Servers, .. CpuInfo]),
        (OptionGroup.General, "General", ["dump", "restore", "check", "decompress", "estimate", "pmem", .. Servers, .. CpuInfo]),
    ];

    /// <summary>The help for one command, or for all when <paramref name="command"/> is null.</summary>
    public static string Build(CommandSpec? command, bool colour)
    {
        var text = new StringBuilder();
        string? only = command is { Instead: null } ? command.Name : null;
        WriteUsage(text, only, colour);
        foreach ((OptionGroup group, string title, string[] commands) in Groups)
        {
            if (only is not null && !commands.Contains(only)) continue;
            Title(text, title, colour);
            foreach (OptionSpec spec in OptionCatalog.Built.Where(spec => spec.Group == group && Matters(spec, only))) Entry(text, Names(spec), spec.Help);
        }

        text.Append('\n');
        Paragraph(text, 0, "A flag is taken back by --no- before its name (--no-display-stats), names may be shortened as long as they "
            + "are unmistakable, and the value of -v and --cpu-cap is attached (-v4, --cpu-cap=ins).");
        if (only is null) WriteNotBuilt(text, colour);
        return text.ToString();
    }

    /// <summary>What is printed when nothing was asked for.</summary>
    public static string BuildShort(bool colour)
    {
        var text = new StringBuilder();
        WriteUsage(text, null, colour);
        return text.Append("\ncriu-pmem --help tells all options, criu-pmem COMMAND --help those of one command.\n").ToString();
    }

    private static bool Matters(OptionSpec spec, string? only)
    {
        if (Servers.Contains(only)) return MattersToServer(spec);
        string[]? few = Array.Find(Few, entry => entry.Command == only).Options;
        bool isCheck = only == CommandSpec.Check.Name;
        return few is null ? !isCheck || spec != OptionCatalog.Json : spec.Group is OptionGroup.Log or OptionGroup.General || few.Contains(spec.Name);
    }

    private static bool MattersToServer(OptionSpec spec) =>
        spec.Group is OptionGroup.Log or OptionGroup.General or OptionGroup.Remote ? spec != RemoteCatalog.PageServer && spec != OptionCatalog.DisplayStats : OfServers.Contains(spec);

    private static void WriteUsage(StringBuilder text, string? only, bool colour)
    {
        if (only is null)
        {
            Paragraph(text, 0, "criu-pmem saves running programs, whole process trees, to a directory, and brings them back.");
            Title(text, "Usage", colour);
            text.Append("  criu-pmem dump -t PID -D DIR [option ...]\n");
            text.Append("  criu-pmem restore -D DIR [option ...]\n");
            text.Append("  criu-pmem page-server -D DIR --port PORT [option ...]\n");
            text.Append("  criu-pmem lazy-pages -D DIR [--page-server --address ADDRESS --port PORT]\n");
            text.Append("  criu-pmem pmem [DIR]\n");
            text.Append("  criu-pmem check [--all | --feature NAME]\n");
            text.Append("  criu-pmem cpuinfo dump|check -D DIR [--cpu-cap[=CAP]]\n");
            Title(text, "Commands", colour);
            foreach (CommandSpec one in CommandSpec.Every.Where(static one => one.Instead is null)) Entry(text, "  " + one.Name, one.Help);
            return;
        }

        Paragraph(text, 0, only switch
        {
            "dump" => "criu-pmem dump saves a process tree to a directory and ends it (or leaves it running, with -R).",
            "restore" => "criu-pmem restore brings a saved process tree back, with its pids.",
            "decompress" => "criu-pmem decompress turns a compressed snapshot into one that CRIU can restore.",
            "estimate" => "criu-pmem estimate tells how large a snapshot of a running tree would be, and how long it would take.",
            "pmem" => "criu-pmem pmem tells what a directory offers to snapshots, and what a dump will do there.",
            "page-server" => "criu-pmem page-server receives the memory of one dump or pre-dump (--page-server) into a directory.",
            "lazy-pages" => "criu-pmem lazy-pages fills the memory of one tree that is restored with --lazy-pages, while it runs.",
            "cpuinfo dump" => "criu-pmem cpuinfo dump writes the features of this CPU to cpuinfo.img.",
            "cpuinfo check" => "criu-pmem cpuinfo check tells whether what was saved with the CPU in cpuinfo.img can be restored on this one.",
            _ => "criu-pmem check tells whether this kernel has what dump and restore need.",
        });
        Title(text, "Usage", colour);
        text.Append(only switch
        {
            "dump" => "  criu-pmem dump -t PID -D DIR [option ...]\n",
            "restore" => "  criu-pmem restore -D DIR [option ...]\n",
            "decompress" => "  criu-pmem decompress -D DIR\n",
            "estimate" => "  criu-pmem estimate -t PID -D DIR [--json]\n",
            "pmem" => "  criu-pmem pmem [DIR] [--json]\n",
            "page-server" => "  criu-pmem page-server -D DIR --port PORT [option ...]\n",
            "lazy-pages" => "  criu-pmem lazy-pages -D DIR [--page-server --address ADDRESS --port PORT]\n",
            "cpuinfo dump" => "  criu-pmem cpuinfo dump -D DIR\n",
            "cpuinfo check" => "  criu-pmem cpuinfo check -D DIR [--cpu-cap[=CAP]]\n",
            _ => "  criu-pmem check [--all | --feature NAME]\n",
        });
    }

    private static void WriteNotBuilt(StringBuilder text, bool colour)
    {
        Title(text, "Known from CRIU, and refused by this version", colour);
        Paragraph(text, 2, string.Join(", ", CommandSpec.Every.Where(static one => one.Instead is not null).Select(static one => one.Name)) + ";");
        Paragraph(text, 2, string.Join(", ", OptionCatalog.Every.Where(static spec => spec.IsNotBuilt).Select(static spec => spec.ToString())));
        text.Append("\nMore: man criu-pmem\n");
    }

    private static string Names(OptionSpec spec)
    {
        string value = spec.Shape switch
        {
            ValueShape.Flag => "",
            ValueShape.Optional => $"[={spec.ValueName}]",
            _ => " " + spec.ValueName,
        };
        return spec.Short == '\0' ? $"      --{spec.Name}{value}" : $"  -{spec.Short}, --{spec.Name}{value}";
    }

    private static void Title(StringBuilder text, string title, bool colour) =>
        text.Append('\n').Append(colour ? $"\e[1m{title}\e[0m" : title).Append('\n');

    private static void Entry(StringBuilder text, string names, string help)
    {
        text.Append(names);
        if (names.Length + 2 > Indent) text.Append('\n').Append(' ', Indent);
        else text.Append(' ', Indent - names.Length);
        Wrap(text, Indent, Indent, help);
    }

    private static void Paragraph(StringBuilder text, int indent, string words)
    {
        text.Append(' ', indent);
        Wrap(text, indent, indent, words);
    }

    private static void Wrap(StringBuilder text, int indent, int column, string words)
    {
        bool first = true;
        foreach (string word in words.Split(' '))
        {
            if (!first && column + 1 + word.Length > Columns)
            {
                text.Append('\n').Append(' ', indent);
                column = indent;
                first = true;
            }

            if (!first)
            {
                text.Append(' ');
                column++;
            }

            text.Append(word);
            column += word.Length;
            first = false;
        }

        text.Append('\n');
    }
}
