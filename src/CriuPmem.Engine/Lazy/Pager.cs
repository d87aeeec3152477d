using CriuPmem.Images;

namespace CriuPmem.Engine.Lazy;

/// <summary>Fills the memory of running programs: what they touch first; what they touched first at an earlier restore; the rest.</summary>
/// <remarks>
/// One thread. A message is read and acted upon before the next one: the kernel tells of faults before events, and refuses
/// to fill (EAGAIN) while an event is not read, so that a fault behind a move is never answered with what was there before.
/// What remains: a thread that moves memory (mremap(2)) in the very moment in which another one forks may lead to a child
/// that misses what was moved, since both events then wait in any order.
/// </remarks>
/// <param name="source">Where pages come from.</param>
/// <param name="control">Tells of address spaces while it serves; null when all are added before.</param>
/// <param name="hot">What is filled first while nobody waits.</param>
/// <param name="log">Where it tells what it does.</param>
internal sealed unsafe class Pager(IPagerSource source, IPagerControl? control, HotPages hot, EngineLog log)
{
    private const int MessagesPerTurn = 64, TurnsPerStep = 8, MaxRetries = 256, IdleMs = 200;
    private const int FirstSpace = 2; // among what is waited for, behind the guardian and whoever tells of spaces

    private readonly PagerGuardian _guardian = new();
    private readonly PagerHugePages _huge = new(log);
    private readonly List<PagerSpace> _spaces = [];
    private readonly (PagerSpace Space, ulong Address)[] _retries = new (PagerSpace, ulong)[MaxRetries];
    private PagerGuardian.PollFd[] _polls = [];
    private int _retryCount, _turn, _streaming;
    private bool _hasUnknown;
    private long _faults, _events;

    /// <summary>Adds a process that ends if the pager dies.</summary>
    public void Guard(int pid)
    {
        if (!_guardian.Watch(pid)) throw new CheckpointException(ErrorCode.Internal, "the tree has more processes than a lazy restore can guard");
    }

    /// <summary>Adds an address space.</summary>
    /// <param name="userfaultfd">Its userfaultfd, which does not wait; it is closed by the pager.</param>
    /// <param name="savedPid">The number of a process in it, as its images have it.</param>
    /// <param name="pid">Its number here; 0 when that is not known.</param>
    /// <param name="runs">What is to be filled, in address order.</param>
    /// <param name="huge">Where huge pages may be when all is filled.</param>
    public void Add(int userfaultfd, int savedPid, int pid, IEnumerable<PagerRun> runs, IReadOnlyList<(ulong Start, ulong End)>? huge = null)
    {
        if (pid != 0) Guard(pid);
        var space = new PagerSpace(userfaultfd, (uint)savedPid, new PagerFamily(_guardian, pid), runs);
        _spaces.Add(space);
        if (huge is not null) _huge.Add(pid, space.Family, huge);
    }

    /// <summary>Serves until everything is there, or nobody needs it.</summary>
    /// <param name="ready">Called when it serves.</param>
    public void Run(Action ready)
    {
        _guardian.Start();
        ready();
        var watch = new StopwatchLap();
        bool mayStream = MayStream;
        while (!mayStream || _spaces.Exists(static space => !space.IsDone))
        {
            bool any = Serve(mayStream ? 0 : IdleMs);
            mayStream = MayStream;
            if (mayStream && (!any || ++_turn % TurnsPerStep == 0)) Stream();
            else if (!any) Interruption.Check();
        }

        _guardian.End();
        foreach (PagerSpace space in _spaces) Sys.Close(space.Fd);
        hot.Save();
        log.Info("lazy", $"all memory is there after {watch.Total / 1000} ms, {_faults} faults and {_events} events answered");
    }

    /// <summary>Behind <see cref="Run"/>: makes huge pages of what was filled.</summary>
    public void MakeHugePages() => _huge.Make();

    private bool MayStream => control?.MayStream ?? true;

    /// <summary>Answers what is waiting; false when nothing was.</summary>
    private bool Serve(int patienceMs)
    {
        Retry();
        int count = _spaces.Count + FirstSpace;
        if (_polls.Length < count) _polls = new PagerGuardian.PollFd[count * 2];
        _polls[0] = new PagerGuardian.PollFd { Fd = _guardian.PidFd, Events = POLLIN };
        _polls[1] = new PagerGuardian.PollFd { Fd = control?.Fd ?? -1, Events = POLLIN };
        for (int i = FirstSpace; i < count; i++) _polls[i] = new PagerGuardian.PollFd { Fd = _spaces[i - FirstSpace].Fd, Events = POLLIN };
        int ready;
        fixed (PagerGuardian.PollFd* first = _polls) ready = Syscall.Invoke(SyscallNumber.poll, (long)first, count, _retryCount > 0 ? 0 : patienceMs).Value;
        if (ready <= 0) return false;
        if (_polls[0].Result != 0)
        {
            log.Warn("lazy", $"the guardian of the lazy restore was killed; another one is started");
            _guardian.Start();
        }

        for (int i = count - 1; i >= FirstSpace; i--)
        {
            if (_polls[i].Result != 0) Read(_spaces[i - FirstSpace]);
            if (_spaces[i - FirstSpace].IsGone) Drop(i - FirstSpace);
        }

        if (_polls[1].Result != 0) control!.Read(this);
        return true;
    }

    /// <summary>Reads and acts upon what one address space tells.</summary>
    private void Read(PagerSpace space)
    {
        for (int i = 0; i < MessagesPerTurn && !space.IsGone; i++)
        {
            _guardian.MayEnd(false); // the child of a fork runs from the moment in which that is read
            SysResult read = Sys.UserfaultfdRead(space.Fd, out Sys.UserfaultfdMessage message);
            bool forked = !read.Failed && message.Event == Sys.UFFD_EVENT_FORK;
            if (!forked) _guardian.MayEnd(!_hasUnknown); // what follows may fail, and nobody is waited for then
            if (read.Failed) return;
            Act(space, message);
            if (forked) _guardian.MayEnd(!_hasUnknown);
        }
    }

    private void Act(PagerSpace space, in Sys.UserfaultfdMessage message)
    {
        if (message.Event == Sys.UFFD_EVENT_PAGEFAULT)
        {
            _faults++;
            Answer(space, message.Address & ~(PageSize - 1));
            return;
        }

        _events++;
        switch (message.Event)
        {
            case Sys.UFFD_EVENT_FORK:
                _spaces.Add(space.Fork((int)message.ChildFd));
                space.Family.Forked();
                _hasUnknown = _spaces.Exists(static space => space.Family.HasUnknown);
                break;
            case Sys.UFFD_EVENT_REMAP:
                space.Move(message.Start, message.Address, message.LengthBytes);
                break;
            case Sys.UFFD_EVENT_REMOVE:
            case Sys.UFFD_EVENT_UNMAP:
                space.Forget(message.Start, message.Address);
                break;
            default:
                throw new CheckpointException(ErrorCode.Internal, $"userfaultfd told of event {message.Event:x}");
        }
    }

    /// <summary>Fills the page of a fault, and what is around it.</summary>
    private void Answer(PagerSpace space, ulong page)
    {
        if (!space.TryFind(page, out PagerRun run))
        {
            Zero(space, page);
            return;
        }

        ulong block = page & ~(source.FaultBytes - 1);
        hot.Note(space.SavedPid, Math.Max(block, run.Start), Math.Min(block + source.FaultBytes, run.End));
        bool settled = source.Fill(space, run.Part(page, block + source.FaultBytes), stopAtFilled: true, out ulong done);
        if (!settled && done == 0) AnswerLater(space, page);
        else if (done == 0) Sys.UserfaultfdWake(space.Fd, page, PageSize); // somebody was faster
        if (settled && !space.IsGone && run.Start < page && block < page) source.Fill(space, run.Part(block, page), stopAtFilled: true, out _);
    }

    /// <summary>Fills a page that was not saved: it is zero.</summary>
    private void Zero(PagerSpace space, ulong page)
    {
        SysResult result = Sys.UserfaultfdZero(space.Fd, page, PageSize);
        if (result.Errno == Errno.EAGAIN) AnswerLater(space, page);
        else if (result.Errno is Errno.EEXIST or Errno.ENOENT) Sys.UserfaultfdWake(space.Fd, page, PageSize);
        else if (result.Errno is Errno.ESRCH or Errno.ENOSPC) space.IsGone = true;
        else result.OrThrow("ioctl(UFFDIO_ZEROPAGE)", $"memory at {page:x}");
    }

    /// <summary>An event has to be read first, and the answer may be another then.</summary>
    private void AnswerLater(PagerSpace space, ulong page)
    {
        if (_retryCount < MaxRetries) _retries[_retryCount++] = (space, page);
        else Sys.UserfaultfdWake(space.Fd, page, PageSize); // it will ask again
    }

    private void Retry()
    {
        int count = _retryCount;
        _retryCount = 0; // those that have to wait again are put in front of the one that is looked at
        for (int i = 0; i < count; i++)
        {
            (PagerSpace space, ulong page) = _retries[i];
            if (!space.IsGone) Answer(space, page);
        }
    }

    /// <summary>Fills the next pages that nobody has asked for yet.</summary>
    private void Stream()
    {
        if (StreamHot()) return;
        for (int tried = 0; tried < _spaces.Count; tried++)
        {
            int index = _streaming % _spaces.Count;
            PagerSpace space = _spaces[index];
            if (!space.IsDone)
            {
                bool settled = source.Fill(space, space.Next(source.StepBytes), stopAtFilled: false, out ulong done);
                if (space.IsGone) Drop(index);
                else space.Advance(done);
                if (settled) return;
            }

            _streaming = index + 1; // one after another; the next when this one is done, or is changing
        }
    }

    /// <summary>Fills the next pages that were hot at an earlier restore; false when all of them are there.</summary>
    private bool StreamHot()
    {
        while (hot.TryPeek(out HotRange range))
        {
            for (int i = 0; i < _spaces.Count; i++)
            {
                PagerSpace space = _spaces[i];
                if (space.SavedPid != range.Pid || !space.TryFindIn(range.Start, range.End, out PagerRun pages)) continue;
                pages = pages.Part(pages.Start, (pages.Start & ~(source.StepBytes - 1)) + source.StepBytes);
                source.Fill(space, pages, stopAtFilled: false, out ulong done);
                if (space.IsGone) Drop(i);
                else space.Forget(pages.Start, pages.Start + done);
                return true; // perhaps an event has to be read first
            }

            if (hot.Advance()) log.Info("lazy", $"{hot.Known} ranges that were touched first at an earlier restore are filled");
        }

        return false;
    }

    private void Drop(int index)
    {
        Sys.Close(_spaces[index].Fd);
        _spaces.RemoveAt(index);
    }
}
