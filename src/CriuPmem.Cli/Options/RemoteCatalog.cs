namespace CriuPmem.Cli.Options;

/// <summary>Options of memory that goes over the network. (A class of its own: the parts of one class would be initialised in an order that depends on file names.)</summary>
internal static class RemoteCatalog
{
    /// <summary>--page-server.</summary>
    public static OptionSpec<bool> PageServer { get; } = OptionCatalog.Flag(OptionGroup.Remote, "page-server", '\0',
        "send the pages to the page server at --address and --port, instead of writing them");

    /// <summary>--address.</summary>
    public static OptionSpec<string?> Address { get; } = OptionCatalog.Text(OptionGroup.Remote, "address", "ADDRESS",
        "name or address of the host with the page server; for a server, the address to listen at (default: every one)");

    /// <summary>--port.</summary>
    public static OptionSpec<int> Port { get; } = new()
    {
        Name = "port",
        Shape = ValueShape.Required,
        ValueName = "PORT",
        Group = OptionGroup.Remote,
        Convert = Values.Port,
        Help = "TCP port of the page server (a server without it is given one by the kernel, and logs it)",
    };

    /// <summary>--ps-socket.</summary>
    public static OptionSpec<int> PsSocket { get; } = Descriptor("ps-socket",
        "use descriptor FD, a connected stream socket, in place of --address and --port");

    /// <summary>--daemon.</summary>
    public static OptionSpec<bool> Daemon { get; } = OptionCatalog.Flag(OptionGroup.Remote, "daemon", '\0',
        "serve in the background: return as soon as the server is ready");

    /// <summary>--status-fd.</summary>
    public static OptionSpec<int> StatusFd { get; } = Descriptor("status-fd",
        "write a zero byte to descriptor FD, and close it, when the server is ready");

    /// <summary>All of them, in the order of the help.</summary>
    public static IReadOnlyList<OptionSpec> All { get; } = [PageServer, Address, Port, PsSocket, Daemon, StatusFd];

    private static OptionSpec<int> Descriptor(string name, string help) => new()
    {
        Name = name,
        Shape = ValueShape.Required,
        ValueName = "FD",
        Group = OptionGroup.Remote,
        Convert = static words => Values.Descriptors(words)[^1],
        Default = -1,
        Help = help,
    };
}
