namespace CriuPmem.SystemTests.Programs;

/// <summary>MariaDB with InnoDB, under transfers between accounts of which each leaves a line of history (as TPC-B).</summary>
internal sealed class MariaDbProgram : Server
{
    private const int TransfersPerRound = 300;

    private const string Schema = """
        CREATE DATABASE bank; USE bank;
        CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL, filler CHAR(80)) ENGINE=InnoDB;
        CREATE TABLE history (id BIGINT AUTO_INCREMENT PRIMARY KEY, account INT, amount BIGINT) ENGINE=InnoDB;
        INSERT INTO account SELECT seq, 0, REPEAT('x', 80) FROM seq_1_to_10000;
        DELIMITER //
        CREATE PROCEDURE transfers(n INT) BEGIN
          WHILE n > 0 DO
            SET @source = 1 + FLOOR(RAND() * 10000), @target = 1 + FLOOR(RAND() * 10000), @amount = FLOOR(RAND() * 1000);
            START TRANSACTION;
            UPDATE account SET balance = balance - @amount WHERE id = @source;
            UPDATE account SET balance = balance + @amount WHERE id = @target;
            INSERT INTO history (account, amount) VALUES (@source, -@amount), (@target, @amount);
            COMMIT;
            SET n = n - 1;
          END WHILE;
        END //
        DELIMITER ;
        """;

    private const string Sums = """
        SELECT (SELECT COUNT(*) FROM history), (SELECT SUM(balance) FROM account), (SELECT SUM(amount) FROM history),
          (SELECT COUNT(*) FROM account a WHERE balance <>
             (SELECT COALESCE(SUM(amount), 0) FROM history h WHERE h.account = a.id) AND id <= 50)
        """;

    private static string? _template;
    private readonly string _socket;
    private int _transfers;

    public MariaDbProgram() : base("prog_mariadb", "--file-locks")
    {
        // A path of a socket has 108 bytes at most.
        _socket = Path.Combine(Home, "sock");
        string data = Path.Combine(Home, "data");
        Command.Run("/bin/cp", ["-a", _template ??= Install(), data], Patience);
        Launch(
            "/usr/sbin/mariadbd", "--no-defaults", $"--datadir={data}", $"--socket={_socket}", "--user=root",
            $"--port={Machine.FreePort()}", "--bind-address=127.0.0.1", "--innodb-use-native-aio=0",
            "--innodb-buffer-pool-size=64M", $"--pid-file={Home}/pid", $"--log-error={Home}/error.log");
        WaitFor("its socket", () => File.Exists(_socket));
        RememberSockets();
        Query(Schema);
    }

    /// <inheritdoc />
    public override void Check(string when)
    {
        Query($"USE bank; CALL transfers({TransfersPerRound});");
        _transfers += TransfersPerRound;
        string sums = Query("USE bank; " + Sums).Trim();
        string expected = $"{2 * _transfers}\t0\t0\t0";
        if (sums != expected)
            throw new WorkloadFailure($"{Name} {when}: history, balances, sums, wrong are {sums}, not {expected}");
        string check = Query("USE bank; CHECK TABLE account, history EXTENDED;");
        if (check.Split("status\tOK").Length != 3)
            throw new WorkloadFailure($"{Name} {when}: CHECK TABLE says {check}");
    }

    private string Query(string sql)
    {
        Command client = Command.Run("/bin/sh", ["-c", "printf '%s\n' \"$2\" | mariadb --no-defaults -uroot -S \"$1\" -N -B",
            "sh", _socket, sql], Patience);
        if (client.TimedOut || client.ExitCode != 0)
            throw new WorkloadFailure($"{Name}: the client fails.\n{client.Output}\n{State()}");
        return client.Output;
    }

    // An empty data directory takes seconds to make: made once, and copied.
    private static string Install()
    {
        string path = Path.Combine(Machine.Scratch, "mariadb-template");
        Command made = Command.Run("/usr/bin/mariadb-install-db",
            ["--no-defaults", $"--datadir={path}", "--user=root", "--skip-test-db", "--auth-root-authentication-method=normal"],
            TimeSpan.FromSeconds(120));
        if (made.ExitCode != 0)
            throw new WorkloadFailure($"mariadb-install-db fails.\n{made.Output}");
        return path;
    }

    protected override string State()
    {
        string log = Path.Combine(Home, "error.log");
        return base.State() + (File.Exists(log) ? "\n" + string.Join('\n', File.ReadLines(log).TakeLast(20)) : "");
    }
}
