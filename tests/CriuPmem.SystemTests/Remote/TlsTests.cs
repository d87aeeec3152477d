using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using CriuPmem.SystemTests.Failures;

namespace CriuPmem.SystemTests.Remote;

/// <summary>Pages that go to a page server within TLS, ours (OpenSSL) and the peer's (GnuTLS).</summary>
public sealed class TlsTests : IDisposable
{
    private readonly string _pki = Directory.CreateDirectory(Path.Combine(Machine.Scratch, $"pki.{Guid.NewGuid():N}")).FullName;
    private readonly X509Certificate2 _authority;

    public TlsTests()
    {
        using RSA key = RSA.Create(2048);
        var request = new CertificateRequest("CN=criu-pmem test authority", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        _authority = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(30));
        File.WriteAllText(Path.Combine(_pki, "ca.pem"), _authority.ExportCertificatePem());
        Make("good", "localhost", _authority);
        Make("elsewhere", "somewhere.invalid", _authority);
        MakeRevocationList("good.crl", []);
    }

    public static TheoryData<string> Ways() => [.. PageServerTests.Asked(["ours-ours-ours", "ours-peer-ours", "peer-ours-ours"])];

    [Theory]
    [MemberData(nameof(Ways))]
    public void Dump_ToPageServer_IsRestored(string way)
    {
        (Engine dumps, Engine serves, Engine restores) = PageServerTests.Engines(way);
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string dumped = live.NewImages("dumped"), received = live.NewImages("received");
        List<int> before = live.LastingProcesses();
        int port = Machine.FreePort();
        using Server server = Server.AtPort(serves, "page-server", received, port, Options("good"));
        live.Dump(dumps, dumped, [.. ToServer(port), .. Options("good")]);
        server.ExpectSuccess();
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), $"{dumps.Name} dump");
        Images.Join(dumped, received);
        live.Restore(restores, received);
        live.Check("after the restore");
        live.Stop();
    }

    [Fact]
    public void Server_WithAnotherName_IsRefusedUnlessToldOtherwise()
    {
        Expect("elsewhere", "good", [], "CP1504", "is not that of localhost", "--tls-no-cn-verify");
        Expect("elsewhere", "good", ["--tls-no-cn-verify"], null);
    }

    [Fact]
    public void Certificate_OfAnotherAuthority_IsRefused()
    {
        using RSA key = RSA.Create(2048);
        var request = new CertificateRequest("CN=another authority", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using X509Certificate2 other = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(30));
        Make("foreign", "localhost", other);
        Expect("foreign", "good", [], "CP1504", "not trusted");
        Expect("good", "foreign", [], "CP150", ""); // it may hear of it at the handshake, or at the first word behind it
    }

    [Fact]
    public void Certificate_ThatIsRevoked_IsRefused()
    {
        using X509Certificate2 good = X509CertificateLoader.LoadCertificateFromFile(Path.Combine(_pki, "elsewhere.pem"));
        MakeRevocationList("revoked.crl", [good]);
        Expect("elsewhere", "good", ["--tls-no-cn-verify", "--tls-cacrl", Path.Combine(_pki, "revoked.crl")], "CP1504", "is revoked");
    }

    /// <summary>Either side's; the other one's clock may be wrong, so both dates are looked at.</summary>
    [Theory]
    [InlineData(-30, -10)]
    [InlineData(10, 20)]
    public void Certificate_OutOfItsTime_IsRefused(int from, int to)
    {
        using RSA key = RSA.Create(2048);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using X509Certificate2 wide = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-100), DateTimeOffset.UtcNow.AddDays(100));
        File.AppendAllText(Path.Combine(_pki, "ca.pem"), "\n" + wide.ExportCertificatePem());
        Make("late", "localhost", wide, from, to);
        Expect("late", "good", [], "CP1504", "is not trusted");
        Expect("good", "late", [], "CP150", "");
    }

    /// <summary>One side speaks TLS, the other does not: neither waits for ever, and the program goes on.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void OneSideOnly_IsRefused(bool serverDoes)
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images"), received = live.NewImages("received");
        int port = Machine.FreePort();
        using Server serves = Server.AtPort(Engine.Ours, "page-server", received, port, serverDoes ? Options("good") : []);
        Command dump = EngineRun.Run(["dump", "-R", "-t", $"{live.Pid}", "-D", images, .. ToServer(port), .. serverDoes ? [] : Options("good")]);
        Assert.True(dump.ExitCode == 1, dump.Output);
        Assert.Matches(@"\[CP(1004|150[0-9])\]", dump.Output);
        Assert.Contains("page server at localhost", dump.Output, StringComparison.Ordinal);
        Assert.Equal(1, serves.ExitCode);
        Assert.Empty(Directory.EnumerateFiles(images, "*.img"));
        Assert.Empty(Directory.EnumerateFiles(received, "*.img"));
        live.Check("after the dump");
        live.Stop();
    }

    /// <summary>Who connects and says nothing, or nonsense, does not keep a server for ever.</summary>
    [Theory]
    [InlineData(0, "CP1004")]
    [InlineData(5000, "CP1504")]
    public void ClientThatDoesNotSpeakTls_EndsTheServer(int bytes, string code)
    {
        string received = Directory.CreateDirectory(Path.Combine(_pki, "received")).FullName;
        int port = Machine.FreePort();
        using Server serves = Server.AtPort(Engine.Ours, "page-server", received, port, Options("good"));
        using var client = new System.Net.Sockets.TcpClient("127.0.0.1", port);
        client.GetStream().Write(RandomNumberGenerator.GetBytes(bytes));
        Assert.Equal(1, serves.ExitCode);
        Assert.Contains($"[{code}]", serves.LastLine, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFiles(received, "*.img"));
    }

    [Fact]
    public void File_ThatIsMissing_IsNamed()
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images");
        EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", images, .. ToServer(Machine.FreePort()), "--tls", "--tls-cert", "/no/such/file.pem"], "CP1504", "/no/such/file.pem", "--tls-cert");
        live.Stop();
    }

    public void Dispose()
    {
        _authority.Dispose();
        Machine.Delete(_pki);
    }

    /// <summary>Dumps to a server, and expects success or a refusal that leaves the program as it was.</summary>
    private void Expect(string server, string client, string[] more, string? code, params string[] words)
    {
        using var live = new LiveWorkload(Workload.Named("mem_anon"));
        string images = live.NewImages("images"), received = live.NewImages("received");
        int port = Machine.FreePort();
        using Server serves = Server.AtPort(Engine.Ours, "page-server", received, port, Options(server));
        Command dump = EngineRun.Run(["dump", "-R", "-t", $"{live.Pid}", "-D", images, .. ToServer(port), .. Options(client), .. more]);
        Assert.True(dump.ExitCode == (code is null ? 0 : 1), dump.Output);
        foreach (string word in words) Assert.Contains(word, dump.Output, StringComparison.Ordinal);
        if (code is not null)
        {
            Assert.Contains($"[{code}", dump.Output, StringComparison.Ordinal);
            Assert.Equal(1, serves.ExitCode);
            Assert.Empty(Directory.EnumerateFiles(images, "*.img"));
            Assert.Empty(Directory.EnumerateFiles(received, "*.img"));
        }

        live.Check("after the dump");
        live.Stop();
    }

    private static string[] ToServer(int port) => ["--page-server", "--address", "localhost", "--port", $"{port}"];

    private string[] Options(string name) =>
        ["--tls", "--tls-cacert", Path.Combine(_pki, "ca.pem"), "--tls-cert", Path.Combine(_pki, name + ".pem"), "--tls-key", Path.Combine(_pki, name + ".key"), "--tls-cacrl", Path.Combine(_pki, "good.crl")];

    private void Make(string name, string host, X509Certificate2 authority, double fromDay = -0.05, double toDay = 20)
    {
        using RSA key = RSA.Create(2048);
        var request = new CertificateRequest($"CN={host}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(host);
        if (host == "localhost") names.AddIpAddress(System.Net.IPAddress.Loopback); // the peer, as a server, expects the name of its --address in a client's
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        using X509Certificate2 made = request.Create(authority, DateTimeOffset.UtcNow.AddDays(fromDay), DateTimeOffset.UtcNow.AddDays(toDay), RandomNumberGenerator.GetBytes(8));
        File.WriteAllText(Path.Combine(_pki, name + ".pem"), made.ExportCertificatePem());
        File.WriteAllText(Path.Combine(_pki, name + ".key"), key.ExportPkcs8PrivateKeyPem());
    }

    private void MakeRevocationList(string name, X509Certificate2[] revoked)
    {
        var list = new CertificateRevocationListBuilder();
        foreach (X509Certificate2 certificate in revoked) list.AddEntry(certificate);
        byte[] bytes = list.Build(_authority, 1, DateTimeOffset.UtcNow.AddDays(10), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        File.WriteAllText(Path.Combine(_pki, name), PemEncoding.WriteString("X509 CRL", bytes));
    }
}
