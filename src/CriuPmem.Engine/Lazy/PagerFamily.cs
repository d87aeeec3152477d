namespace CriuPmem.Engine.Lazy;

/// <summary>A restored process and those that it, or they, made since: whom the guardian has to know.</summary>
/// <remarks>The kernel tells that there was a fork, not of whom: the new process is the child that nobody knows yet.</remarks>
internal sealed class PagerFamily
{
    private readonly PagerGuardian _guardian;
    private readonly List<int> _pids = [];
    private long _forks, _found;

    /// <summary>Begins with the restored process, which the guardian knows; 0 when nobody knows its number.</summary>
    public PagerFamily(PagerGuardian guardian, int pid)
    {
        _guardian = guardian;
        if (pid != 0) _pids.Add(pid);
    }

    /// <summary>One of them has forked.</summary>
    public bool HasForked { get; private set; }

    /// <summary>A child is there whose number is not known.</summary>
    public bool HasUnknown => _found < _forks;

    /// <summary>A process of the family has forked.</summary>
    public void Forked()
    {
        HasForked = true;
        if (_pids.Count == 0) return; // nobody here knows its number
        _forks++;
        FindChildren();
    }

    private void FindChildren()
    {
        for (int i = 0; i < _pids.Count; i++)
        {
            using ProcDirectory? proc = ProcDirectory.TryOpen(_pids[i]);
            if (proc is null)
            {
                _pids.RemoveAt(i--);
                continue;
            }

            foreach (int tid in proc.Numbers("task"))
            {
                foreach (int child in proc.Children(tid)) Meet(child);
            }
        }
    }

    private void Meet(int pid)
    {
        if (_pids.Contains(pid) || !_guardian.Watch(pid)) return;
        _pids.Add(pid);
        _found++;
    }
}
