using System.Runtime.ExceptionServices;

namespace CriuPmem.Kernel;

/// <summary>A value that a <see cref="SideThread"/> works out ahead of its use; who needs it earlier does it himself.</summary>
internal sealed class Ahead<T>(Func<T> work)
    where T : class
{
    private int _taken;
    private volatile bool _done;
    private T? _value;
    private ExceptionDispatchInfo? _failure;

    /// <summary>The value, as soon as it is there.</summary>
    /// <exception cref="CheckpointException">It cannot be worked out.</exception>
    public T Value
    {
        get
        {
            Prepare();
            var wait = default(SpinWait);
            while (!_done) wait.SpinOnce(sleep1Threshold: -1);
            _failure?.Throw();
            return _value!;
        }
    }

    /// <summary>Sees to it that nobody begins, or is still about it.</summary>
    public void Drop()
    {
        if (Interlocked.Exchange(ref _taken, 1) == 0) _done = true;
        var wait = default(SpinWait);
        while (!_done) wait.SpinOnce(sleep1Threshold: -1);
    }

    /// <summary>Works it out, unless somebody does already.</summary>
    public void Prepare()
    {
        if (Interlocked.Exchange(ref _taken, 1) != 0) return;
        try
        {
            _value = work();
        }
        catch (Exception failure)
        {
            _failure = ExceptionDispatchInfo.Capture(failure); // whatever it is: who needs the value must not wait for ever
        }

        _done = true;
    }
}
