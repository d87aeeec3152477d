using System.Runtime.ExceptionServices;

namespace CriuPmem.Kernel;

/// <summary>A second thread of a job, for work that needs no tracing: what is posted runs there, one piece after the other.</summary>
/// <remarks>
/// After the first failure nothing more is done, and <see cref="Finish"/> tells of it. It shares the descriptors of the
/// thread that starts it.
/// </remarks>
internal sealed class SideThread : IDisposable
{
    private const int StackBytes = 256 * 1024, RoomForDescriptors = 4096;

    private readonly Queue<Action> _work = [];
    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _posted = new(0);
    private Thread? _thread;
    private ExceptionDispatchInfo? _failure;
    private volatile bool _ended;

    /// <summary>Makes one.</summary>
    /// <param name="isActive">False for a job so small that starting a thread would cost more than it gains.</param>
    public SideThread(bool isActive) => IsActive = isActive;

    /// <summary>Whether work can be posted.</summary>
    public bool IsActive { get; }

    /// <summary>Adds a piece of work.</summary>
    public void Post(Action work)
    {
        if (_thread is null) Start();
        lock (_lock) _work.Enqueue(work);
        _posted.Release();
    }

    /// <summary>Waits until all that was posted is done.</summary>
    /// <exception cref="CheckpointException">What failed first.</exception>
    public void Finish()
    {
        End(dropWork: false);
        _failure?.Throw();
    }

    /// <summary>Drops what has not begun, and waits for what has.</summary>
    public void Dispose()
    {
        End(dropWork: true);
        _posted.Dispose();
    }

    private void Start()
    {
        // A table of descriptors that two threads share grows only after an RCU grace period, ten milliseconds each time.
        SysResult far = Sys.Fcntl(0, F_DUPFD_CLOEXEC, RoomForDescriptors - 1);
        if (!far.Failed) Sys.Close(far.Value);
        _ended = false;
        var thread = new Thread(Work, StackBytes) { IsBackground = true, Name = "side thread" };
        thread.Begin();
        _thread = thread;
    }

    private void End(bool dropWork)
    {
        if (_thread is null) return;
        if (dropWork)
        {
            lock (_lock) _work.Clear();
        }

        _ended = true;
        _posted.Release();
        _thread.Join();
        _thread = null;
    }

    private void Work()
    {
        while (true)
        {
            _posted.Wait();
            Action? work;
            lock (_lock)
            {
                if (!_work.TryDequeue(out work) && _ended) return;
            }

            if (work is null || _failure is not null) continue;
            try
            {
                work();
            }
            catch (Exception exception) when (exception is not OutOfMemoryException)
            {
                _failure = ExceptionDispatchInfo.Capture(exception); // unhandled it would end the engine before anything is undone
            }
        }
    }
}
