using CriuPmem.Cli.Hooks;
using CriuPmem.Cli.Options;
using CriuPmem.Cli.Output;
using CriuPmem.Engine.Transfer;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Commands;

/// <summary>Tells those who wait for it that a server serves: --pidfile, --status-fd, the status-ready action, --daemon.</summary>
internal sealed class Readiness : IDisposable
{
    private const int StandardOutput = 1;

    private readonly Session _session;
    private readonly PidFile? _pidFile;
    private readonly int _statusFd;

    /// <summary>Prepares it, so that what cannot be told refuses before anything is done.</summary>
    public Readiness(Invocation given, Session session)
    {
        _session = session;
        _statusFd = given.Get(RemoteCatalog.StatusFd);
        if (given.Get(OptionCatalog.PidFile) is string path) _pidFile = new PidFile(session.WorkFd, path);
    }

    /// <summary>What shall be called when somebody serves at a port: <see cref="Tell"/>, which prints one that the kernel chose.</summary>
    public Func<bool> At(RemoteOptions remote)
    {
        bool anyPort = remote is { Socket: < 0, Port: 0 };
        return () =>
        {
            if (anyPort) Terminal.Write(StandardOutput, Wording.Port(remote.Port));
            return Tell();
        };
    }

    /// <summary>Tells it; false when an action refused.</summary>
    public bool Tell()
    {
        _pidFile?.Write(Sys.GetPid());
        if (!_session.Scripts.Run("status-ready", 0)) return false;
        if (_statusFd >= 0)
        {
            Sys.WriteAll(_statusFd, "\0"u8);
            Sys.Close(_statusFd);
        }

        Background.Ready();
        return true;
    }

    /// <summary>The server failed: its pid is nobody's.</summary>
    public void TakeBack() => _pidFile?.Remove();

    /// <inheritdoc />
    public void Dispose() => _pidFile?.Dispose();
}
