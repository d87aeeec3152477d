using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using CriuPmem.SystemTests.Failures;

namespace CriuPmem.SystemTests.Remote;

/// <summary>A page server, or what leads to it, that fails: the program goes on, and nothing is left behind on either side.</summary>
public sealed class PageServerFailureTests
{
    private static readonly Workload Program = Workload.Named("mem_anon");

    [Fact]
    public void Dump_NobodyListens_Refuses()
    {
        using var live = new LiveWorkload(Program);
        DumpRefuses(live, Machine.FreePort(), "CP1500", "no connection to a page server", "Start the page server there first");
    }

    [Fact]
    public void TwoServers_OfOneDirectory_AreRefused()
    {
        using var live = new LiveWorkload(Program);
        string received = live.NewImages("received");
        using Server server = Server.AtPort(Engine.Ours, "page-server", received, Machine.FreePort());
        EngineRun.Refuses(["page-server", "-D", received, "--address", "127.0.0.1"], "CP1305", "another page server", received);
        server.Kill();
        using Server next = Server.AtPort(Engine.Ours, "page-server", received, Machine.FreePort());
        live.Stop();
    }

    [Fact]
    public void ServerWithoutPort_PrintsTheOneItGot()
    {
        using var live = new LiveWorkload(Program);
        string script = $"{Engine.Ours.Program} page-server -D {live.NewImages("received")} --address 127.0.0.1 >{live.Home}/port & server=$!; "
            + $"while ! [ -s {live.Home}/port ]; do sleep 0.02; done; cat {live.Home}/port; kill $server; wait $server";
        Command command = Command.Run("/bin/sh", ["-c", script], Engine.Limit);
        Assert.Matches(@"(?m)^listening at port [1-9]\d+$", command.Output);
        live.Stop();
    }

    /// <summary>The tree stands still for as long as it is sent, which nobody expects of -R.</summary>
    [Theory]
    [InlineData(300, true)]
    [InlineData(30, false)]
    public void RunningTree_ThatWaitsForMuch_IsWarnedOf(int mebibytes, bool warned)
    {
        using var live = new LiveWorkload(new Workload("mem_hot", $"{mebibytes}"));
        string received = live.NewImages("received");
        int port = Machine.FreePort();
        using Server server = Server.AtPort(Engine.Ours, "page-server", received, port);
        Command dump = EngineRun.Run("dump", "-R", "-t", $"{live.Pid}", "-D", live.NewImages("images"), "--page-server", "--address", "127.0.0.1", "--port", $"{port}");
        Assert.True(dump.ExitCode == 0, dump.Output);
        Assert.Equal(warned, dump.Output.Contains("while the tree stands still", StringComparison.Ordinal));
        server.ExpectSuccess();
        live.Check("after it was sent");
        live.Stop();
    }

    [Fact]
    public void Dump_UnknownHost_Refuses()
    {
        using var live = new LiveWorkload(Program);
        string images = live.NewImages("images");
        EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", images, "--page-server", "--address", "no-such-host.invalid", "--port", "1"], "CP1500", "no-such-host.invalid");
        live.Check("after a dump that failed");
        live.Stop();
    }

    [Theory]
    [InlineData(100, "CP1501", "ended the connection before all was said")]
    [InlineData(300_000, "CP1501", "ended the connection before all was said")]
    public void Dump_ConnectionCut_Refuses(int afterBytes, string code, string words)
    {
        using var live = new LiveWorkload(Program);
        using var server = new FalseServer(stream =>
        {
            stream.WriteByte(0);
            FalseServer.Take(stream, afterBytes);
        });
        DumpRefuses(live, server.Port, code, words);
    }

    [Fact]
    public void Dump_ServerAnswersNonsense_Refuses()
    {
        using var live = new LiveWorkload(Program);
        using var server = new FalseServer(stream =>
        {
            stream.WriteByte(77);
            FalseServer.Take(stream, int.MaxValue);
        });
        DumpRefuses(live, server.Port, "CP1502", "sent what cannot be", "77");
    }

    [Fact]
    public void Dump_ServerReportsAFailure_Refuses()
    {
        using var live = new LiveWorkload(Program);
        using var server = new FalseServer(static _ => { }, last: -28);
        DumpRefuses(live, server.Port, "CP1503", "could not store the pages", "-28");
    }

    [Fact]
    public void ServerKilled_InTheMiddle_ProgramGoesOn()
    {
        using var live = new LiveWorkload(new Workload("mem_churn", "400"));
        string received = live.NewImages("received"), images = live.NewImages("images");
        int port = Machine.FreePort();
        using Server server = Server.AtPort(Engine.Ours, "page-server", received, port);
        var killer = new Thread(() =>
        {
            SpinWait.SpinUntil(() => Directory.EnumerateFiles(received, "pages-*.img").Any(file => new FileInfo(file).Length > 4 << 20), Engine.Limit);
            server.Kill();
        });
        killer.Start();
        string line = EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", images, "--page-server", "--address", "127.0.0.1", "--port", $"{port}"], "CP1501", $"page server at 127.0.0.1, port {port}");
        killer.Join();
        Assert.Contains("ended the connection", line, StringComparison.Ordinal);
        ExpectNoImages(images);
        live.Check("after its page server was killed");
        live.Stop();
    }

    [Fact]
    public void DirectoryFull_BothSidesSaySo()
    {
        using var live = new LiveWorkload(new Workload("mem_churn", "400"));
        string received = live.NewImages("received"), images = live.NewImages("images");
        using var mount = new TestMount(received, "size=8m");
        int port = Machine.FreePort();
        using Server server = Server.AtPort(Engine.Ours, "page-server", received, port);
        EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", images, "--page-server", "--address", "127.0.0.1", "--port", $"{port}"], "CP1501", "page server at 127.0.0.1");
        Assert.Equal(1, server.ExitCode);
        Assert.Contains("[CP1304]", server.LastLine, StringComparison.Ordinal);
        ExpectNoImages(received);
        ExpectNoImages(images);
        live.Check("after a dump to a server that was full");
        live.Stop();
    }

    [Fact]
    public void DumpKilled_ServerKeepsNothing()
    {
        using var live = new LiveWorkload(new Workload("mem_churn", "400"));
        string received = live.NewImages("received"), images = live.NewImages("images");
        int port = Machine.FreePort();
        using Server server = Server.AtPort(Engine.Ours, "page-server", received, port);
        int? ended = EngineRun.Kill(TimeSpan.FromMilliseconds(60), "dump", "-t", $"{live.Pid}", "-D", images, "--page-server", "--address", "127.0.0.1", "--port", $"{port}");
        Assert.True(ended is null, $"the dump ended with {ended} before it was killed: this shows nothing");
        if (!server.Log.Contains("has connected", StringComparison.Ordinal))
            return; // it was killed before it connected: the server waits for another
        Assert.Equal(1, server.ExitCode);
        Assert.Contains("[CP1501]", server.LastLine, StringComparison.Ordinal);
        ExpectNoImages(received);
        live.Check("after its dump was killed");
        live.Stop();
    }

    public static TheoryData<string, string, string> WrongMessages() => new()
    {
        { "a command that does not exist", "9 0 1 1000 101", "CP1502" },
        { "no such kind of object", "4 0 0 0 4403", "CP1502" },
        { "process 0", "4 0 0 0 1", "CP1502" },
        { "a number that no pid can have", "4 0 0 0 ffffffffffffff01", "CP1502" },
        { "an address within a page", "6 4 1 1001 101", "CP1502" },
        { "more pages than there are", "6 4 ffffffffffffffff 1000 101", "CP1502" },
        { "an address that wraps around", "6 4 2 fffffffffffff000 101", "CP1502" },
        { "no pages", "6 4 0 1000 101", "CP1502" },
        { "flags that do not exist", "6 c 1 1000 101", "CP1502" },
        { "pages in a parent that is not there", "6 1 1 1000 101", "CP1502" },
        { "pages out of order", "6 2 1 5000 101;6 2 1 4000 101", "CP1502" },
        { "an end in the middle of pages", "6 4 8 1000 101", "CP1501" },
        { "an end without a word", "6 2 1 1000 101", "CP1501" },
        { "a request for pages", "7 0 1 1000 101", "CP1502" },
    };

    [Theory]
    [MemberData(nameof(WrongMessages))]
    public void Server_WrongMessage_SaysSoAndKeepsNothing(string what, string messages, string code)
    {
        Assert.NotEmpty(what);
        using var live = new LiveWorkload(Program);
        string received = live.NewImages("received");
        int port = Machine.FreePort();
        using Server server = Server.AtPort(Engine.Ours, "page-server", received, port);
        using (var client = new TcpClient("127.0.0.1", port))
        {
            foreach (string message in messages.Split(';'))
                client.GetStream().Write(Message(message));
            client.Client.Shutdown(SocketShutdown.Send);
            Assert.Equal(1, server.ExitCode);
        }

        Assert.Contains($"[{code}]", server.LastLine, StringComparison.Ordinal);
        ExpectNoImages(received);
        live.Stop();
    }

    private static byte[] Message(string text)
    {
        ulong[] words = [.. text.Split(' ').Select(word => Convert.ToUInt64(word, 16))];
        var message = new byte[32];
        BinaryPrimitives.WriteUInt16LittleEndian(message, (ushort)words[0]);
        BinaryPrimitives.WriteUInt16LittleEndian(message.AsSpan(2), (ushort)words[1]);
        for (int i = 2; i < 5; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(message.AsSpan(8 * (i - 1)), words[i]);
        return message;
    }

    private static void DumpRefuses(LiveWorkload live, int port, string code, params string[] words)
    {
        string images = live.NewImages($"images.{port}");
        EngineRun.Refuses(["dump", "-t", $"{live.Pid}", "-D", images, "--page-server", "--address", "127.0.0.1", "--port", $"{port}"], code, [$"port {port}", .. words]);
        ExpectNoImages(images);
        live.Check($"after a dump that failed with {code}");
        live.Stop();
    }

    private static void ExpectNoImages(string directory) => Assert.Empty(Directory.EnumerateFileSystemEntries(directory, "*.img*"));

    /// <summary>Somebody who is no page server: does something with the first connection, and ends it.</summary>
    private sealed class FalseServer : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);

        public FalseServer(Action<NetworkStream> serve, int? last = null)
        {
            _listener.Start();
            _ = Task.Run(() =>
            {
                using TcpClient client = _listener.AcceptTcpClient();
                using NetworkStream stream = client.GetStream();
                if (last is { } answer) Answer(stream, answer);
                else serve(stream);
            });
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public static void Take(Stream stream, long bytes)
        {
            var buffer = new byte[65536];
            for (long left = bytes; left > 0;)
            {
                int read = stream.Read(buffer, 0, (int)Math.Min(left, buffer.Length));
                if (read == 0) return;
                left -= read;
            }
        }

        public void Dispose() => _listener.Dispose();

        /// <summary>Takes everything as a page server does, and says in the end that it failed.</summary>
        private static void Answer(Stream stream, int answer)
        {
            var header = new byte[32];
            while (stream.ReadAtLeast(header, 32, throwOnEndOfStream: false) == 32)
            {
                ushort command = BinaryPrimitives.ReadUInt16LittleEndian(header), flags = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(2));
                if (command == 4) stream.WriteByte(0);
                if (command == 6 && (flags & 4) != 0) Take(stream, BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(8)) * 4096);
                if (command == 0x1023) stream.Write(BitConverter.GetBytes(answer));
            }
        }
    }
}
