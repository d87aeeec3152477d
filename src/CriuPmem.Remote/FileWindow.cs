using System.Runtime.InteropServices;

namespace CriuPmem.Remote;

/// <summary>A window into one of the engine's files through which a frozen process copies its own memory: several times as fast as it is read from outside.</summary>
/// <remarks>
/// One batch receives the file, maps it, copies and unmaps, all by itself: if the engine dies meanwhile, the process goes on
/// with nothing left in it. It makes a pair of sockets, of which the engine takes a copy of one end (pidfd_getfd(2)) to send the
/// file by. All its threads stand still, so that the numbers of its next three descriptors are known.
/// <code>
/// process   socketpair ── recvmsg ············ close, close, mmap, close, copy …, munmap
/// engine         └ copy of one end ── sendmsg ┘
/// </code>
/// </remarks>
/// <param name="space">The process's scratch.</param>
/// <param name="task">The thread that copies.</param>
/// <param name="copyOf">Makes a copy of one of its descriptors.</param>
/// <param name="file">The file, open for reading and writing.</param>
/// <param name="free">The three lowest numbers that it has no descriptor of.</param>
/// <param name="address">Where the window is: nothing is mapped there.</param>
internal sealed unsafe class FileWindow(RemoteSpace space, Tracee task, Func<int, SysResult> copyOf, int file, (int First, int Second, int Third) free, ulong address)
{
    /// <summary>How many pieces one window can take.</summary>
    public const int MaxPieces = 3000;

    private const int ControlBytes = 24, HeaderBytes = 16, MaxTries = 40_000; // two seconds
    private const long PatienceSeconds = 1; // if the engine does not come, the process goes on without

    /// <summary>Has the process copy; false when it could not, or not all: then nothing is left in it.</summary>
    /// <param name="offset">Where in the file the window is.</param>
    /// <param name="lengthBytes">Its length: pages that the file has already, so that none is charged to the process.</param>
    /// <param name="pieces">From where in its memory, to where in the window, how many bytes.</param>
    /// <exception cref="CheckpointException">The process ended.</exception>
    public bool TryCopy(long offset, ulong lengthBytes, IReadOnlyList<(ulong From, ulong To, ulong LengthBytes)> pieces)
    {
        SyscallBatch batch = space.Batch;
        batch.Clear();
        RemoteAddress pair = batch.Data<(int, int)>((-1, -1));
        batch.Must("socketpair", SyscallNumber.socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
        batch.Try(SyscallNumber.setsockopt, free.First, SOL_SOCKET, SO_RCVTIMEO, batch.Data<(long, long)>((PatienceSeconds, 0)), 16);
        int received = batch.Try(SyscallNumber.recvmsg, free.First, Message(batch), MSG_CMSG_CLOEXEC);
        batch.Try(SyscallNumber.close, free.First);
        batch.Try(SyscallNumber.close, free.Second);
        int mapped = batch.Must("mmap", SyscallNumber.mmap, (long)address, (long)lengthBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, free.Third, offset);
        batch.Try(SyscallNumber.close, free.Third);
        foreach ((ulong from, ulong to, ulong bytes) in pieces) batch.Move(address + to, from, bytes);
        int unmapped = batch.Try(SyscallNumber.munmap, (long)address, (long)lengthBytes);
        batch.Load(task, space.EndSignal, letIn: 1UL << (SIGSEGV - 1) | 1UL << (SIGBUS - 1));
        task.Continue();
        Send();
        bool whole = task.TryWaitFor(space.EndSignal);
        task.PutBack();
        batch.Unload(task.Tid);
        bool isMapped = batch.Result(mapped).Raw == (long)address;
        if (whole && isMapped && batch.Result(unmapped).Raw == 0) return true;
        CleanUp(received: !batch.Result(received).Failed && batch.Result(received).Raw >= 0, isMapped, lengthBytes);
        return false;
    }

    private static RemoteAddress Message(SyscallBatch batch)
    {
        RemoteAddress control = batch.Reserve(ControlBytes), one = batch.Reserve(16);
        RemoteAddress vector = batch.Data<(ulong, ulong)>((one.Value, 1));
        return batch.Data(new Sys.MsgHdr { Vector = vector.Value, VectorLength = 1, Control = control.Value, ControlBytes = ControlBytes });
    }

    /// <summary>Sends the file as soon as the process has its sockets. Where that fails it waits in vain, and tells so.</summary>
    private void Send()
    {
        SysResult end = copyOf(free.Second);
        // A process whose control group gets little of the CPU may take its time; one that could not make them has stopped already.
        for (int tries = 0; end.Errno == Errno.EBADF && tries < MaxTries && !task.IsStopped(); tries++)
        {
            if (tries > 100) Sys.SleepMicroseconds(50);
            end = copyOf(free.Second);
        }

        if (end.Failed) return;
        using var socket = new OwnedFd(end.Value);
        Span<byte> control = stackalloc byte[ControlBytes];
        control.Clear();
        MemoryMarshal.Write(control, (long)HeaderBytes + sizeof(int));
        MemoryMarshal.Write(control[8..], SOL_SOCKET);
        MemoryMarshal.Write(control[12..], SCM_RIGHTS);
        MemoryMarshal.Write(control[HeaderBytes..], file);
        Sys.SendMessage(socket.Fd, [0], [], control, MSG_NOSIGNAL | MSG_DONTWAIT);
    }

    private void CleanUp(bool received, bool isMapped, ulong lengthBytes)
    {
        SyscallBatch batch = space.Batch;
        batch.Clear();
        if (received && !isMapped) batch.Try(SyscallNumber.close, free.Third);
        if (isMapped) batch.Try(SyscallNumber.munmap, (long)address, (long)lengthBytes);
        space.Run(task);
    }
}
