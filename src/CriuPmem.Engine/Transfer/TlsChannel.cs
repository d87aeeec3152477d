using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace CriuPmem.Engine.Transfer;

/// <summary>A channel within TLS: both sides show certificates, and neither goes on without a good one of the other.</summary>
internal sealed class TlsChannel : ByteChannel
{
    private const int HandshakeSeconds = 20;

    private readonly ByteChannel _inner;
    private readonly SslStream _stream;

    private TlsChannel(ByteChannel inner, SslStream stream) : base(inner.Peer)
    {
        _inner = inner;
        _stream = stream;
    }

    /// <inheritdoc />
    public override bool SendsHeadersAlone => true;

    /// <inheritdoc />
    public override int PatienceSeconds { get => _inner.PatienceSeconds; set => _inner.PatienceSeconds = value; }

    /// <summary>Secures a connection, which is closed with the channel, or when that fails.</summary>
    /// <param name="inner">The connection.</param>
    /// <param name="trust">Certificates, own and trusted.</param>
    /// <param name="serverName">The name by which a server was called; null on the server's side.</param>
    /// <exception cref="CheckpointException">The other side has no good certificate, or does not speak TLS.</exception>
    public static TlsChannel Secure(ByteChannel inner, TlsTrust trust, string? serverName)
    {
        var stream = new SslStream(new ChannelStream(inner), leaveInnerStreamOpen: true);
        inner.PatienceSeconds = HandshakeSeconds; // who says nothing now would keep everybody else waiting
        try
        {
            if (serverName is null) stream.AuthenticateAsServer(AsServer(trust));
            else stream.AuthenticateAsClient(AsClient(trust, serverName));
            inner.PatienceSeconds = 0;
            return new TlsChannel(inner, stream);
        }
        catch (Exception failed) when (failed is AuthenticationException or IOException or InvalidOperationException)
        {
            stream.Dispose();
            inner.Dispose();
            throw new CheckpointException(ErrorCode.NotSecure, $"no secure connection to {inner.Peer}: {trust.Complaint ?? (failed.InnerException ?? failed).Message}")
            {
                Remedy = trust.NameRemedy ?? "Both sides need --tls and certificates of one authority (--tls-cert, --tls-key, --tls-cacert); the other side's message may say more.",
            };
        }
        catch
        {
            stream.Dispose();
            inner.Dispose();
            throw;
        }
    }

    /// <inheritdoc />
    public override bool IsEnded => _inner.IsEnded;

    /// <inheritdoc />
    public override int ReceiveSome(Span<byte> buffer)
    {
        try
        {
            return _stream.Read(buffer);
        }
        catch (IOException)
        {
            throw Cut(Errno.None);
        }
    }

    /// <inheritdoc />
    public override void Send(ReadOnlySpan<byte> bytes)
    {
        try
        {
            _stream.Write(bytes);
        }
        catch (IOException)
        {
            throw Cut(Errno.None);
        }
    }

    /// <inheritdoc />
    public override void Dispose()
    {
        _stream.Dispose();
        _inner.Dispose();
    }

    private static SslServerAuthenticationOptions AsServer(TlsTrust trust) => new()
    {
        ServerCertificateContext = trust.Own,
        ClientCertificateRequired = true,
        // In TLS 1.3 OpenSSL sends tickets behind the handshake, even when told not to, and the peer takes one for an error.
        EnabledSslProtocols = SslProtocols.Tls12,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck, // by the file of --tls-cacrl, in the callback
        RemoteCertificateValidationCallback = (_, certificate, _, _) => trust.Accepts(certificate, name: null),
    };

    private static SslClientAuthenticationOptions AsClient(TlsTrust trust, string serverName) => new()
    {
        TargetHost = serverName,
        ClientCertificateContext = trust.Own,
        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        RemoteCertificateValidationCallback = (_, certificate, _, _) => trust.Accepts(certificate, serverName),
    };
}
