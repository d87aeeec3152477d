namespace CriuPmem.Cli.Options;

/// <summary>Options of memory that goes over the network. (A class of its own: the parts of one class would be initialised in an order that depends on file names.)</summary>
internal static class RemoteCatalog
{
    /// <summary>--page-server.</summary>
    public static OptionSpec<bool> PageServer { get; } = OptionCatalog.Flag(OptionGroup.Remote, "page-server", '\0',
        "dump: send the pages to the page server at --address and --port, instead of writing them; lazy-pages: fetch them there");

    /// <summary>--lazy-pages.</summary>
    public static OptionSpec<bool> LazyPages { get; } = OptionCatalog.Flag(OptionGroup.Remote, "lazy-pages", '\0',
        "dump: leave memory in the processes, and serve it at --address and --port until it has been fetched; restore: leave memory to a lazy-pages daemon; "
        + "page-server: serve the snapshot in DIR to a lazy-pages daemon");

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
        Help = "TCP port of the page server (a server without it is given one by the kernel, and prints it)",
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

    /// <summary>--tls.</summary>
    public static OptionSpec<bool> Tls { get; } = OptionCatalog.Flag(OptionGroup.Remote, "tls", '\0',
        "secure the connection by TLS; both sides show certificates (needs OpenSSL, libssl.so.3)");

    /// <summary>--tls-cacert.</summary>
    public static OptionSpec<string?> TlsAuthority { get; } = OptionCatalog.Text(OptionGroup.Remote, "tls-cacert", "FILE",
        "trust certificates of the authority in FILE alone (default: /etc/pki/CA/cacert.pem if it is there, else those that the system trusts)");

    /// <summary>--tls-cacrl.</summary>
    public static OptionSpec<string?> TlsRevoked { get; } = OptionCatalog.Text(OptionGroup.Remote, "tls-cacrl", "FILE",
        "do not trust certificates in the revocation list FILE (default: /etc/pki/CA/cacrl.pem if it is there)");

    /// <summary>--tls-cert.</summary>
    public static OptionSpec<string?> TlsCertificate { get; } = OptionCatalog.Text(OptionGroup.Remote, "tls-cert", "FILE",
        "show the certificate in FILE (default: /etc/pki/criu/cert.pem)");

    /// <summary>--tls-key.</summary>
    public static OptionSpec<string?> TlsKey { get; } = OptionCatalog.Text(OptionGroup.Remote, "tls-key", "FILE",
        "its private key is in FILE (default: /etc/pki/criu/private/key.pem)");

    /// <summary>--tls-no-cn-verify.</summary>
    public static OptionSpec<bool> TlsNoCnVerify { get; } = OptionCatalog.Flag(OptionGroup.Remote, "tls-no-cn-verify", '\0',
        "accept a server's certificate whatever name is in it");

    /// <summary>All of them, in the order of the help.</summary>
    public static IReadOnlyList<OptionSpec> All { get; } = [PageServer, LazyPages, Address, Port, PsSocket, Daemon, StatusFd, Tls, TlsAuthority, TlsRevoked, TlsCertificate, TlsKey, TlsNoCnVerify];

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
