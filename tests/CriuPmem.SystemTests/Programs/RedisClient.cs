using System.Net;
using System.Net.Sockets;
using System.Text;

namespace CriuPmem.SystemTests.Programs;

/// <summary>One short connection to a Redis server (RESP2).</summary>
internal sealed class RedisClient : IDisposable
{
    private readonly TcpClient _connection = new();
    private readonly BufferedStream _stream;

    public RedisClient(int port)
    {
        _connection.Connect(IPAddress.Loopback, port);
        _connection.ReceiveTimeout = 30_000;
        _stream = new BufferedStream(_connection.GetStream());
    }

    /// <summary>Sends a command; returns its answer as text, arrays joined by blanks.</summary>
    public string Ask(params string[] words)
    {
        var text = new StringBuilder($"*{words.Length}\r\n");
        foreach (string word in words)
            text.Append($"${Encoding.UTF8.GetByteCount(word)}\r\n{word}\r\n");
        _stream.Write(Encoding.UTF8.GetBytes(text.ToString()));
        _stream.Flush();
        return Read();
    }

    public void Dispose()
    {
        _stream.Dispose();
        _connection.Dispose();
    }

    private string Read()
    {
        string line = Line();
        switch (line[0])
        {
            case '-':
                throw new WorkloadFailure($"Redis answers {line}");
            case '$':
                int length = int.Parse(line.AsSpan(1));
                if (length < 0)
                    return "";
                var bytes = new byte[length + 2];
                _stream.ReadExactly(bytes);
                return Encoding.UTF8.GetString(bytes, 0, length);
            case '*':
                return string.Join(' ', Enumerable.Range(0, int.Parse(line.AsSpan(1))).Select(_ => Read()));
            default:
                return line[1..];
        }
    }

    private string Line()
    {
        var line = new StringBuilder();
        while (true)
        {
            int next = _stream.ReadByte();
            if (next < 0)
                throw new WorkloadFailure("Redis closes the connection");
            if (next == '\n')
                return line.ToString().TrimEnd('\r');
            line.Append((char)next);
        }
    }
}
