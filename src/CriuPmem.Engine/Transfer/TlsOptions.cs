namespace CriuPmem.Engine.Transfer;

/// <summary>How connections are secured (--tls and its files, all in PEM form).</summary>
public sealed class TlsOptions
{
    /// <summary>The authority that both sides' certificates must come from (--tls-cacert); null for those that the system trusts.</summary>
    public string? Authority { get; set; }

    /// <summary>Certificates that are no longer trusted (--tls-cacrl); null for none.</summary>
    public string? Revoked { get; set; }

    /// <summary>This side's certificate (--tls-cert).</summary>
    public string Certificate { get; set; } = "";

    /// <summary>Its private key (--tls-key).</summary>
    public string Key { get; set; } = "";

    /// <summary>A server's certificate must have the name that it was called by (not with --tls-no-cn-verify).</summary>
    public bool VerifyName { get; set; } = true;
}
