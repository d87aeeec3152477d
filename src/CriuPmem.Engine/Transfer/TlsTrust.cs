using System.Net.Security;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace CriuPmem.Engine.Transfer;

/// <summary>This side's certificate, and what it takes to trust the other's.</summary>
internal sealed class TlsTrust
{
    // The runtime ends the program when it finds none of these: so they are looked for before.
    private static readonly string[] s_libraries = ["libssl.so.3", "libssl.so.1.1"];

    private readonly TlsOptions _options;
    private readonly X509Certificate2Collection _authorities = [];
    private readonly CertificateRevocationListBuilder? _revoked;

    /// <summary>Reads the files.</summary>
    /// <exception cref="CheckpointException">OpenSSL is missing, or a file cannot be used.</exception>
    public TlsTrust(TlsOptions options)
    {
        _options = options;
        if (!Array.Exists(s_libraries, static library => NativeLibrary.TryLoad(library, out _)))
        {
            throw new CheckpointException(ErrorCode.NotSecure, "OpenSSL (libssl.so.3) is not installed, without which there is no TLS")
            {
                Remedy = "Install it (apt-get install libssl3), or leave --tls out where the network can be trusted.",
            };
        }

        // In one piece with its key: with a key of its own in memory alone, OpenSSL would not find it again.
        Own = Use(options.Certificate, "--tls-cert", () => SslStreamCertificateContext.Create(X509Certificate2.CreateFromPemFile(options.Certificate, options.Key), null, offline: true));
        if (options.Authority is { } authority) Use(authority, "--tls-cacert", () => { _authorities.ImportFromPemFile(authority); return true; });
        if (options.Revoked is { } revoked) _revoked = Use(revoked, "--tls-cacrl", () => CertificateRevocationListBuilder.LoadPem(File.ReadAllText(revoked), out BigInteger _));
    }

    /// <summary>This side's certificate, with its key.</summary>
    public SslStreamCertificateContext Own { get; }

    /// <summary>Why the other side's certificate was not accepted; null when it was, or none came.</summary>
    public string? Complaint { get; private set; }

    /// <summary>What can be done when nothing but the name in the certificate was wrong; null else.</summary>
    public string? NameRemedy { get; private set; }

    /// <summary>Whether a certificate of the other side is good.</summary>
    /// <param name="shown">What it showed; null for nothing.</param>
    /// <param name="name">The name that it must have; null when it has none to have.</param>
    public bool Accepts(X509Certificate? shown, string? name)
    {
        Complaint = Fault(shown, name);
        return Complaint is null;
    }

    private string? Fault(X509Certificate? shown, string? name)
    {
        if (shown is null) return "it shows no certificate";
        using X509Certificate2 certificate = X509CertificateLoader.LoadCertificate(shown.GetRawCertData());
        using var chain = new X509Chain();
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        if (_authorities.Count > 0)
        {
            chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            chain.ChainPolicy.CustomTrustStore.AddRange(_authorities);
        }

        if (!chain.Build(certificate)) return $"its certificate ({certificate.Subject}) is not trusted: {chain.ChainStatus[0].StatusInformation.Trim()}";
        if (IsRevoked(certificate)) return $"its certificate ({certificate.Subject}) is revoked";
        if (name is not null && _options.VerifyName && !certificate.MatchesHostname(name))
        {
            NameRemedy = "Give --address as it stands in the certificate; or --tls-no-cn-verify, if any certificate of the authority will do.";
            return $"its certificate ({certificate.Subject}) is not that of {name}";
        }

        return null;
    }

    /// <summary>Whether its number is in the list (taking it out of a copy says so).</summary>
    private bool IsRevoked(X509Certificate2 certificate) => _revoked is not null && _revoked.RemoveEntry(certificate.SerialNumberBytes.Span);

    private static T Use<T>(string file, string option, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception failed) when (failed is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(ErrorCode.NotSecure, $"a file of {option} (or of its key, --tls-key) cannot be used: {failed.Message}") { Object = file, Remedy = "It must be in PEM form, and readable." };
        }
    }
}
