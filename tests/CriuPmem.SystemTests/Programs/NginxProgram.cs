using System.Net;
using System.Net.Sockets;
using System.Text;

namespace CriuPmem.SystemTests.Programs;

/// <summary>nginx with a master and two workers, which serve files and write a log.</summary>
internal sealed class NginxProgram : Server
{
    private const int RequestsPerRound = 200;
    private readonly int _port = Machine.FreePort();
    private readonly byte[] _content = new byte[300_000];
    private readonly List<int> _processes;
    private int _requests;

    public NginxProgram() : base("prog_nginx")
    {
        new Random(4).NextBytes(_content);
        File.WriteAllBytes(Path.Combine(Home, "content.bin"), _content);
        File.WriteAllText(Path.Combine(Home, "nginx.conf"), $$"""
            daemon off;
            master_process on;
            user root;
            worker_processes 2;
            pid {{Home}}/nginx.pid;
            error_log {{Home}}/error.log;
            events { worker_connections 64; }
            http {
              access_log {{Home}}/access.log;
              client_body_temp_path {{Home}}/body;
              proxy_temp_path {{Home}}/proxy;
              fastcgi_temp_path {{Home}}/fastcgi;
              uwsgi_temp_path {{Home}}/uwsgi;
              scgi_temp_path {{Home}}/scgi;
              keepalive_timeout 0;
              server { listen 127.0.0.1:{{_port}}; root {{Home}}; }
            }

            """);
        Launch("/usr/sbin/nginx", "-p", Home, "-e", $"{Home}/error.log", "-c", $"{Home}/nginx.conf");
        WaitFor("its port", () => Machine.IsListening(_port));
        WaitFor("master and workers", () => Processes().Count == 3);
        _processes = Processes();
        Thread.Sleep(200); // the workers' own sockets
        RememberSockets();
    }

    /// <inheritdoc />
    public override void Check(string when)
    {
        if (!Processes().SequenceEqual(_processes))
            throw new WorkloadFailure($"{Name} {when}: other processes than at the start");
        for (int i = 0; i < RequestsPerRound; i++)
            Fetch(when);
        _requests += RequestsPerRound;
        WaitFor($"log line {_requests}", () => File.ReadLines(Path.Combine(Home, "access.log")).Count() == _requests);
    }

    private void Fetch(string when)
    {
        using var connection = new TcpClient { ReceiveTimeout = 10_000 };
        connection.Connect(IPAddress.Loopback, _port);
        using NetworkStream stream = connection.GetStream();
        stream.Write("GET /content.bin HTTP/1.0\r\n\r\n"u8);
        var answer = new MemoryStream();
        stream.CopyTo(answer);
        ReadOnlySpan<byte> bytes = answer.GetBuffer().AsSpan(0, (int)answer.Length);
        int body = bytes.IndexOf("\r\n\r\n"u8) + 4;
        if (!bytes.StartsWith("HTTP/1.1 200 "u8) || !bytes[body..].SequenceEqual(_content))
        {
            string head = Encoding.ASCII.GetString(bytes[..Math.Min(200, bytes.Length)]);
            throw new WorkloadFailure($"{Name} {when}: wrong answer: {head}");
        }
    }
}
