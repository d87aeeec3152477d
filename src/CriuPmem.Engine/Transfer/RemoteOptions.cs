namespace CriuPmem.Engine.Transfer;

/// <summary>How another engine is reached, or listens (--address, --port, --ps-socket).</summary>
public sealed class RemoteOptions
{
    /// <summary>A host's name or address; null for every address of this machine, to listen at.</summary>
    public string? Address { get; set; }

    /// <summary>The TCP port; 0 lets the kernel choose one to listen at.</summary>
    public int Port { get; set; }

    /// <summary>A connected socket of the engine's own table that is used instead; -1 for none.</summary>
    public int Socket { get; set; } = -1;

    /// <summary>Secure the connection; null to leave it open (--tls).</summary>
    public TlsOptions? Tls { get; set; }
}
