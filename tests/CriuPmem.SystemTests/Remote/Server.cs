using System.Diagnostics;

namespace CriuPmem.SystemTests.Remote;

/// <summary>An engine that serves: a page server, a lazy-pages daemon, or a dump that waits to be fetched.</summary>
internal sealed class Server : IDisposable
{
    private readonly Process _process;
    private readonly string _what, _log;

    private Server(Engine engine, string command, string directory, IEnumerable<string> options)
    {
        _what = $"{engine.Name} {command}";
        _log = Path.Combine(directory, $"{command}.log");
        var start = new ProcessStartInfo(engine.Program) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = "/" };
        foreach (string argument in (string[])[command, "-v4", "-o", _log, .. options])
            start.ArgumentList.Add(argument);
        _process = Process.Start(start)!;
    }

    /// <summary>Its pid.</summary>
    public int Pid => _process.Id;

    /// <summary>What it logged.</summary>
    public string Log => File.Exists(_log) ? File.ReadAllText(_log) : "";

    /// <summary>Starts a server that listens at a port, and waits until it does.</summary>
    public static Server AtPort(Engine engine, string command, string directory, int port, params string[] options)
    {
        var server = new Server(engine, command, directory, ["-D", directory, "--address", "127.0.0.1", "--port", $"{port}", .. options]);
        server.WaitFor("listen", () => Machine.IsListening(port));
        if (command == "dump") // it listens before it freezes anything; the images are there when it says so
            server.WaitFor("say that pages can be fetched", () => server.Log.Contains("wait to be fetched", StringComparison.Ordinal));
        return server;
    }

    /// <summary>Starts a server, and waits until a file is there.</summary>
    public static Server WithFile(Engine engine, string command, string directory, string file, params string[] options)
    {
        var server = new Server(engine, command, directory, ["-D", directory, .. options]);
        server.WaitFor($"make {file}", () => File.Exists(file));
        return server;
    }

    /// <summary>Waits for its end; returns its exit code.</summary>
    public int ExitCode
    {
        get
        {
            if (_process.WaitForExit(Engine.Limit))
                return _process.ExitCode;
            throw new EngineFailure($"{_what} does not end.\n{Engine.Tail(_log)}");
        }
    }

    /// <summary>The last line that it printed.</summary>
    public string LastLine => _process.StandardError.ReadToEnd().Trim().Split('\n')[^1];

    /// <summary>Expects that it ends, well.</summary>
    public void ExpectSuccess()
    {
        if (ExitCode != 0)
            throw new EngineFailure($"{_what} exits with {ExitCode}: {LastLine}\n{Engine.Tail(_log)}");
    }

    /// <summary>Kills it.</summary>
    public void Kill()
    {
        if (!_process.HasExited)
            _process.Kill(entireProcessTree: true);
        _process.WaitForExit();
    }

    public void Dispose()
    {
        Kill();
        _process.Dispose();
    }

    private void WaitFor(string what, Func<bool> isThere)
    {
        var clock = Stopwatch.StartNew();
        while (!isThere())
        {
            if (_process.HasExited || clock.Elapsed > Engine.Limit)
                throw new EngineFailure($"{_what} does not {what}: {(_process.HasExited ? LastLine : "")}\n{Engine.Tail(_log)}");
            Thread.Sleep(2);
        }
    }
}
