using System.Globalization;

namespace CriuPmem.SystemTests.Programs;

/// <summary>Redis with 200,000 keys and an append-only file.</summary>
internal sealed class RedisProgram : Server
{
    private const int Keys = 200_000;
    private const string Fill = "for i = 1, ARGV[1] do redis.call('SET', 'key:' .. i, 'value of ' .. i * i) end";

    // Every key's value as it was filled in, but those that Load has changed.
    private const string Verify = """
        local wrong = 0
        for i = 1, ARGV[1] do
          local value = redis.call('GET', 'key:' .. i)
          if value ~= 'value of ' .. i * i then wrong = wrong + 1 end
        end
        return wrong
        """;

    private readonly int _port = Machine.FreePort();
    private readonly string _run;
    private int _round;

    public RedisProgram() : base("prog_redis")
    {
        Launch(
            "redis-server", "--port", $"{_port}", "--bind", "127.0.0.1", "--dir", Home, "--appendonly", "yes",
            "--appendfsync", "everysec", "--save", "", "--daemonize", "no");
        WaitFor("its port", () => Machine.IsListening(_port));
        RememberSockets();
        using var client = new RedisClient(_port);
        client.Ask("EVAL", Fill, "0", $"{Keys}");
        _run = Field(client, "run_id");
    }

    /// <inheritdoc />
    public override void Check(string when)
    {
        using var client = new RedisClient(_port);
        _round++;
        Expect(client, when, $"{_round}", "INCR", "rounds");
        for (int i = 0; i < 500; i++)
            client.Ask("RPUSH", $"list:{_round}", $"item {i}");
        for (int round = 1; round <= _round; round++)
            Expect(client, when, "500", "LLEN", $"list:{round}");
        Expect(client, when, "0", "EVAL", Verify, "0", $"{Keys}");
        Expect(client, when, $"{Keys + 1 + _round}", "DBSIZE");
        if (Field(client, "run_id") != _run)
            throw new WorkloadFailure($"{Name} {when}: this is another server");
        if (Field(client, "process_id") != Pid.ToString(CultureInfo.InvariantCulture))
            throw new WorkloadFailure($"{Name} {when}: another pid");
        if (Field(client, "aof_last_write_status") != "ok")
            throw new WorkloadFailure($"{Name} {when}: the append-only file cannot be written");
    }

    /// <inheritdoc />
    protected override void RequestStop()
    {
        base.RequestStop();
        ProcessTable.WaitGone([Pid], Patience, "Redis was told to stop");
        string manifest = Path.Combine(Home, "appendonlydir", "appendonly.aof.manifest");
        Command check = Command.Run("/usr/bin/redis-check-aof", [manifest], Patience);
        if (check.ExitCode != 0)
            throw new WorkloadFailure($"{Name}: its append-only file is damaged.\n{check.Output}");
    }

    private void Expect(RedisClient client, string when, string expected, params string[] words)
    {
        string answer = client.Ask(words);
        if (answer != expected)
            throw new WorkloadFailure($"{Name} {when}: {words[0]} gives {answer}, not {expected}");
    }

    private static string Field(RedisClient client, string name) => client.Ask("INFO").Split("\r\n")
        .First(line => line.StartsWith(name + ":", StringComparison.Ordinal))[(name.Length + 1)..];
}
