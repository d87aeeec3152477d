namespace CriuPmem.Engine.Lazy;

/// <summary>Ends the processes of a restore that waits for a lazy-pages daemon for too long.</summary>
/// <remarks>
/// Between the hand-over of a process and the moment in which the tree runs a call that a task makes for the engine may touch
/// memory that is missing. It then waits for the daemon, and the engine for it, where neither time nor signals are looked at.
/// </remarks>
internal sealed class LazyPagesPatience : IDisposable
{
    private const int LookAtSignalsEveryMs = 200;

    private readonly SideThread _thread = new(isActive: true);
    private readonly OwnedFd _done;
    private readonly List<OwnedFd> _processes = [];
    private readonly int _timeoutSeconds;

    /// <summary>From here on the time is measured.</summary>
    /// <param name="pids">The processes.</param>
    /// <param name="timeoutSeconds">How long; 0 for ever.</param>
    public LazyPagesPatience(IEnumerable<int> pids, int timeoutSeconds)
    {
        _timeoutSeconds = timeoutSeconds;
        _done = new OwnedFd((int)Syscall.Invoke(SyscallNumber.eventfd2, 0, O_CLOEXEC).OrThrow("eventfd2", LazyPagesSocket.Name));
        foreach (int pid in pids) _processes.Add(new OwnedFd((int)Sys.PidfdOpen(pid).OrThrow("pidfd_open", $"process {pid}")));
        _thread.Post(Watch);
    }

    /// <summary>It has ended them.</summary>
    public bool IsLost { get; private set; }

    /// <inheritdoc />
    public void Dispose()
    {
        Sys.WriteAll(_done.Fd, BitConverter.GetBytes(1UL));
        _thread.Dispose();
        foreach (OwnedFd process in _processes) process.Dispose();
        _processes.Clear();
        _done.Dispose();
    }

    private void Watch()
    {
        var watch = new StopwatchLap();
        while (Sys.Poll(_done.Fd, POLLIN, LookAtSignalsEveryMs) == 0)
        {
            bool isLate = _timeoutSeconds > 0 && watch.Total > _timeoutSeconds * 1_000_000L;
            if (!isLate && !Interruption.IsWanted) continue;
            IsLost = true;
            foreach (OwnedFd process in _processes) Syscall.Invoke(SyscallNumber.pidfd_send_signal, process.Fd, SIGKILL, 0, 0);
            return;
        }
    }
}
