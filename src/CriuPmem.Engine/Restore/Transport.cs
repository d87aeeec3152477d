using CriuPmem.Remote;

namespace CriuPmem.Engine.Restore;

/// <summary>Moves descriptors from the engine into tasks: SCM_RIGHTS over sockets that every new process inherits.</summary>
/// <remarks>
/// A new process has no descriptor but the sockets' own, and the kernel gives the lowest free numbers in order: so where
/// each one lands is known beforehand, and receiving and moving them is one batch. Processes whose batches run at the same
/// time take turns with the sockets: on one of them they might receive each other's descriptors.
/// </remarks>
internal sealed unsafe class Transport : IDisposable
{
    /// <summary>Descriptors in one message (SCM_MAX_FD).</summary>
    public const int MaxPerMessage = 250;

    private const int ControlBytes = 16 + MaxPerMessage * 4 + 8;
    private readonly OwnedFd[] _engineEnds;
    private readonly RemoteSpace?[] _users; // whose batch received, or will, on each
    private int _last;

    /// <summary>Makes the socket pairs.</summary>
    /// <param name="count">How many.</param>
    public Transport(int count = 1)
    {
        _engineEnds = new OwnedFd[count];
        _users = new RemoteSpace?[count];
        TaskEnds = new int[count];
        int* pair = stackalloc int[2];
        for (int i = 0; i < count; i++)
        {
            Syscall.Invoke(SyscallNumber.socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, (long)pair).OrThrow("socketpair", "transport");
            _engineEnds[i] = new OwnedFd(pair[0]);
            TaskEnds[i] = pair[1];
        }
    }

    /// <summary>The first of the tasks' ends, which follow one another: its number in every new process.</summary>
    public int TaskEnd => TaskEnds[0];

    /// <summary>The last of them.</summary>
    public int LastTaskEnd => TaskEnds[^1];

    private int[] TaskEnds { get; }

    /// <summary>Moves the tasks' ends to numbers of at least <paramref name="number"/> that survive execve.</summary>
    /// <exception cref="CheckpointException">The limit of open files is too low for that.</exception>
    public void PlaceTaskEnd(int number)
    {
        ulong needed = (ulong)(number + TaskEnds.Length), limit = ResourceLimit.OpenFiles;
        if (needed > limit)
        {
            throw new CheckpointException(ErrorCode.LimitReached, $"the open files of this tree have numbers for which criu-pmem must be allowed {needed} open files, and it is allowed {limit}")
            {
                Remedy = $"Raise the limit: ulimit -n {Math.Max(needed, 65536)} in the shell, LimitNOFILE= in a unit of systemd. What restored programs may is saved with them.",
            };
        }

        for (int i = 0; i < TaskEnds.Length; i++)
        {
            int moved = (int)Sys.Fcntl(TaskEnds[i], F_DUPFD, number + i).OrThrow("fcntl(F_DUPFD)", "transport");
            Sys.Close(TaskEnds[i]);
            TaskEnds[i] = moved;
        }
    }

    /// <summary>Sends descriptors, and adds the call that receives them to the task's batch.</summary>
    public void Pass(RemoteCalls calls, ReadOnlySpan<int> descriptors)
    {
        int socket = SocketFor(calls.Space);
        Send(socket, descriptors);
        Receive(socket, calls, descriptors.Length);
    }

    /// <summary>Adds the closing of the tasks' ends.</summary>
    public void Close(RemoteCalls calls) => calls.Must("close_range", SyscallNumber.close_range, TaskEnd, LastTaskEnd, 0);

    private int SocketFor(RemoteSpace space)
    {
        int socket = Array.IndexOf(_users, space);
        if (socket >= 0) return socket;
        _last = (_last + 1) % _users.Length;
        _users[_last]?.Collect();
        _users[_last] = space;
        return _last;
    }

    private void Send(int socket, ReadOnlySpan<int> descriptors)
    {
        byte* control = stackalloc byte[ControlBytes];
        *(long*)control = 16 + descriptors.Length * 4;
        *(int*)(control + 8) = SOL_SOCKET;
        *(int*)(control + 12) = SCM_RIGHTS;
        descriptors.CopyTo(new Span<int>(control + 16, MaxPerMessage));
        byte one = 1;
        ulong* vector = stackalloc ulong[2] { (ulong)(&one), 1 };
        var message = new Sys.MsgHdr { Vector = (ulong)vector, VectorLength = 1, Control = (ulong)control, ControlBytes = (ulong)((16 + descriptors.Length * 4 + 7) & ~7) };
        Syscall.Invoke(SyscallNumber.sendmsg, _engineEnds[socket].Fd, (long)(&message), MSG_NOSIGNAL).OrThrow("sendmsg", "transport");
    }

    private void Receive(int socket, RemoteCalls calls, int count)
    {
        calls.Room(ControlBytes + 256, 2);
        RemoteAddress control = calls.Batch.Reserve(16 + count * 4 + 8);
        RemoteAddress data = calls.Batch.Reserve(16);
        RemoteAddress vector = calls.Batch.Data<(ulong, ulong)>((data.Value, 1));
        RemoteAddress message = calls.Batch.Data(new Sys.MsgHdr
        {
            Vector = vector.Value,
            VectorLength = 1,
            Control = control.Value,
            ControlBytes = (ulong)((16 + count * 4 + 7) & ~7),
        });
        calls.Must("receiving open files", SyscallNumber.recvmsg, TaskEnds[socket], message, MSG_CMSG_CLOEXEC);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (OwnedFd end in _engineEnds) end.Dispose();
        foreach (int end in TaskEnds) Sys.Close(end);
    }
}
