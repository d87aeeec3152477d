using System.Runtime.InteropServices;

namespace CriuPmem.Engine.Lazy;

/// <summary>Keeps a pager that died from turning missing pages into zeros: a second process that holds the same descriptors.</summary>
/// <remarks>
/// When the last descriptor of a userfaultfd is closed, what was not filled reads as zeros. So a child of the pager shares
/// its table of descriptors (CLONE_FILES: those of forked children are in it from the moment the kernel makes them) and
/// executes a list of system calls, no managed code: wait for the pager's end; SIGKILL to every process of the tree; wait
/// for their ends; exit. Only then the descriptors close. The list lies in shared memory, so that the pager can add
/// processes. While a child exists that it could not add, the last call waits for ever: that child waits too, but sees no zeros.
/// </remarks>
internal sealed unsafe class PagerGuardian
{
    private const int Capacity = 1024, NameBytes = 64;
    private const int FirstKill = 4, FirstWait = FirstKill + Capacity, Hold = FirstWait + Capacity, Calls = Hold + 1;

    private readonly ChildCalls.Call* _calls;
    private readonly PollFd* _polls; // that of the pager, then those of the processes
    private readonly Dictionary<int, int> _slots = []; // pid → slot
    private int _pid;

    /// <summary>Prepares the list for this process.</summary>
    public PagerGuardian()
    {
        ulong bytes = (ulong)(Calls * sizeof(ChildCalls.Call) + (Capacity + 1) * sizeof(PollFd));
        _calls = (ChildCalls.Call*)Sys.Mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0).OrThrow("mmap", "the guardian's list");
        _polls = (PollFd*)(_calls + Calls);
        byte* name = (byte*)NativeMemory.AllocZeroed((nuint)(NameBytes + sizeof(PrctlMmMap))); // in private memory: arguments elsewhere are not shown
        "criu-pmem-guard"u8.CopyTo(new Span<byte>(name, NameBytes));
        _polls[0] = new PollFd { Fd = (int)Sys.PidfdOpen(Sys.GetPid()).OrThrow("pidfd_open", "the pager"), Events = POLLIN };
        _calls[0] = new ChildCalls.Call(SyscallNumber.prctl, PR_SET_NAME, (long)name);
        // Also as arguments, which ps(1) shows: else they are the pager's. Where the kernel does not let it, they stay so.
        var bounds = (PrctlMmMap*)(name + NameBytes);
        bool isKnown = TryReadBounds(bounds);
        (bounds->ArgStart, bounds->ArgEnd) = ((ulong)name, (ulong)name + (ulong)"criu-pmem-guard"u8.Length + 1);
        _calls[1] = isKnown ? new ChildCalls.Call(SyscallNumber.prctl, PR_SET_MM, PR_SET_MM_MAP, (long)bounds, sizeof(PrctlMmMap)) : new ChildCalls.Call(SyscallNumber.getpid);
        _calls[2] = new ChildCalls.Call(SyscallNumber.setsid);
        _calls[3] = new ChildCalls.Call(SyscallNumber.poll, (long)_polls, 1, -1);
        for (int slot = 0; slot < Capacity; slot++) Clear(slot);
        _calls[Hold] = new ChildCalls.Call(SyscallNumber.poll);
    }

    /// <summary>A pidfd of the guardian: it can be read when that has ended.</summary>
    public int PidFd { get; private set; } = -1;

    /// <summary>Adds a process that ends with the pager; false when there is no room.</summary>
    public bool Watch(int pid)
    {
        if (_slots.ContainsKey(pid)) return true;
        int slot = Free();
        SysResult pidfd = slot < 0 ? default : Sys.PidfdOpen(pid);
        if (slot < 0) return false;
        if (pidfd.Failed) return true; // it has ended
        _slots[pid] = slot;
        _polls[slot + 1] = new PollFd { Fd = pidfd.Value, Events = POLLIN };
        _calls[FirstWait + slot] = new ChildCalls.Call(SyscallNumber.poll, (long)(_polls + slot + 1), 1, -1);
        _calls[FirstKill + slot] = new ChildCalls.Call(SyscallNumber.pidfd_send_signal, pidfd.Value, SIGKILL);
        return true;
    }

    /// <summary>Whether it may end when those it knows have ended.</summary>
    public void MayEnd(bool may) => _calls[Hold].Arguments[2] = may ? 0 : -1;

    /// <summary>Starts it, or another when the first was killed.</summary>
    public void Start()
    {
        if (_pid != 0)
        {
            Sys.Wait4(_pid, out _, __WALL);
            Sys.Close(PidFd);
        }

        _pid = (int)ChildCalls.Start(new Span<ChildCalls.Call>(_calls, Calls), ChildCalls.Copy | CLONE_FILES).OrThrow("clone3", "the guardian");
        PidFd = (int)Sys.PidfdOpen(_pid).OrThrow("pidfd_open", "the guardian");
    }

    /// <summary>Ends it: everything is filled.</summary>
    public void End()
    {
        Sys.Kill(_pid, SIGKILL);
        Sys.Wait4(_pid, out _, __WALL);
    }

    /// <summary>The bounds of this process, which its child will have, too.</summary>
    private static bool TryReadBounds(PrctlMmMap* bounds)
    {
        using ProcDirectory? self = ProcDirectory.TryOpen(Sys.GetPid());
        if (self?.Stat() is not { StartCode: > 1 } stat) return false;
        *bounds = new PrctlMmMap
        {
            StartCode = stat.StartCode,
            EndCode = stat.EndCode,
            StartData = stat.StartData,
            EndData = stat.EndData,
            StartBrk = stat.StartBrk,
            Brk = (ulong)Syscall.Invoke(SyscallNumber.brk).Raw,
            StartStack = stat.StartStack,
            EnvStart = stat.EnvStart,
            EnvEnd = stat.EnvEnd,
            ExeFd = uint.MaxValue,
        };
        return true;
    }

    private int Free()
    {
        if (_slots.Count == Capacity) DropEnded();
        for (int slot = 0; slot < Capacity; slot++)
        {
            if (_polls[slot + 1].Fd < 0) return slot;
        }

        return -1;
    }

    private void DropEnded()
    {
        foreach ((int pid, int slot) in _slots)
        {
            if (Sys.Poll(_polls[slot + 1].Fd, POLLIN) == 0) continue;
            Sys.Close(_polls[slot + 1].Fd);
            Clear(slot);
            _slots.Remove(pid);
        }
    }

    private void Clear(int slot)
    {
        _polls[slot + 1].Fd = -1;
        _calls[FirstKill + slot] = new ChildCalls.Call(SyscallNumber.getpid);
        _calls[FirstWait + slot] = new ChildCalls.Call(SyscallNumber.getpid);
    }

    /// <summary>struct pollfd.</summary>
    internal struct PollFd
    {
        public int Fd;
        public short Events, Result;
    }
}
