namespace CriuPmem.Engine.Lazy;

/// <summary>One address space in the pager's care: its userfaultfd, and what of it is still to be filled.</summary>
/// <remarks>
/// What a fault has filled stays in the list until the background work passes (filling it again does no harm: EEXIST); what
/// the program drops, unmaps or moves is taken out at once. A page of a registered mapping that is not in the list is zero.
/// </remarks>
internal sealed class PagerSpace
{
    private readonly List<PagerRun> _runs; // ascending, from _first on
    private readonly List<PagerRun> _pieces = [];
    private int _first;

    /// <summary>Takes over a descriptor.</summary>
    public PagerSpace(int fd, uint savedPid, PagerFamily family, IEnumerable<PagerRun> runs)
    {
        Fd = fd;
        SavedPid = savedPid;
        Family = family;
        _runs = [.. runs];
    }

    /// <summary>The userfaultfd.</summary>
    public int Fd { get; }

    /// <summary>The number of the restored process in its images; a forked child has its parent's.</summary>
    public uint SavedPid { get; }

    /// <summary>The processes that descend from one restored process.</summary>
    public PagerFamily Family { get; }

    /// <summary>True when the address space is no more.</summary>
    public bool IsGone { get; set; }

    /// <summary>True when nothing is left to fill.</summary>
    public bool IsDone => IsGone || _first == _runs.Count;

    /// <summary>What a forked child has to be filled with: as much as its parent at that moment.</summary>
    public PagerSpace Fork(int fd) => new(fd, SavedPid, Family, _runs.Skip(_first));

    /// <summary>The run that holds an address.</summary>
    public bool TryFind(ulong address, out PagerRun run)
    {
        int at = FirstAbove(address);
        bool found = at < _runs.Count && _runs[at].Start <= address;
        run = found ? _runs[at] : default;
        return found;
    }

    /// <summary>The first pages that are left between two addresses.</summary>
    public bool TryFindIn(ulong start, ulong end, out PagerRun pages)
    {
        int at = FirstAbove(start);
        bool found = at < _runs.Count && _runs[at].Start < end;
        pages = found ? _runs[at].Part(start, end) : default;
        return found;
    }

    /// <summary>The first pages that are left, up to the next multiple of <paramref name="stepBytes"/>.</summary>
    public PagerRun Next(ulong stepBytes)
    {
        PagerRun run = _runs[_first];
        return run.Part(run.Start, (run.Start & ~(stepBytes - 1)) + stepBytes);
    }

    /// <summary>Takes bytes off the front: they are filled.</summary>
    public void Advance(ulong bytes)
    {
        PagerRun run = _runs[_first];
        if (bytes == run.LengthBytes) _first++;
        else _runs[_first] = run.Part(run.Start + bytes, run.End);
    }

    /// <summary>The pages of a range are no longer to be filled.</summary>
    public void Forget(ulong start, ulong end)
    {
        _pieces.Clear();
        Take(start, end);
    }

    /// <summary>The program moved a range (mremap(2)).</summary>
    public void Move(ulong from, ulong to, ulong lengthBytes)
    {
        Forget(to, to + lengthBytes);
        _pieces.Clear();
        Take(from, from + lengthBytes);
        for (int i = 0; i < _pieces.Count; i++) _pieces[i] = _pieces[i].At(_pieces[i].Start - from + to);
        _runs.InsertRange(FirstAbove(to), _pieces);
    }

    /// <summary>Moves what lies in a range from the runs to the pieces.</summary>
    private void Take(ulong start, ulong end)
    {
        int first = FirstAbove(start), behind = first;
        for (; behind < _runs.Count && _runs[behind].Start < end; behind++) _pieces.Add(_runs[behind].Part(start, end));
        if (first == behind) return;
        PagerRun head = _runs[first], tail = _runs[behind - 1];
        _runs.RemoveRange(first, behind - first);
        if (tail.End > end) _runs.Insert(first, tail.Part(end, tail.End));
        if (head.Start < start) _runs.Insert(first, head.Part(head.Start, start));
    }

    /// <summary>The index of the first run that ends above an address.</summary>
    private int FirstAbove(ulong address)
    {
        int low = _first, high = _runs.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (_runs[middle].End <= address) low = middle + 1;
            else high = middle;
        }

        return low;
    }
}
