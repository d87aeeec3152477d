using System.Runtime.InteropServices;
using CriuPmem.Remote;

namespace CriuPmem.Engine.Restore;

/// <summary>Moves descriptors from the engine into tasks: SCM_RIGHTS over one socket that every new process inherits.</summary>
/// <remarks>
/// A new process has no descriptor but the socket's own, and the kernel gives the lowest free numbers in order: so where
/// each one lands is known beforehand, and receiving and moving them is one batch.
/// </remarks>
internal sealed unsafe class Transport : IDisposable
{
    /// <summary>Descriptors in one message (SCM_MAX_FD).</summary>
    public const int MaxPerMessage = 250;

    private const int ControlBytes = 16 + MaxPerMessage * 4 + 8;
    private readonly OwnedFd _engineEnd;

    /// <summary>Makes the socket pair.</summary>
    public Transport()
    {
        int* pair = stackalloc int[2];
        Syscall.Invoke(SyscallNumber.socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, (long)pair).OrThrow("socketpair", "transport");
        _engineEnd = new OwnedFd(pair[0]);
        TaskEnd = pair[1];
    }

    /// <summary>The tasks' end: its number in every new process.</summary>
    public int TaskEnd { get; private set; }

    /// <summary>Moves the tasks' end to a number of at least <paramref name="number"/> that survives execve.</summary>
    public void PlaceTaskEnd(int number)
    {
        int moved = (int)Sys.Fcntl(TaskEnd, F_DUPFD, number).OrThrow("fcntl(F_DUPFD)", "transport");
        Sys.Close(TaskEnd);
        TaskEnd = moved;
    }

    /// <summary>Sends descriptors; they are received by the next <see cref="Receive"/> of the task.</summary>
    public void Send(ReadOnlySpan<int> descriptors)
    {
        byte* control = stackalloc byte[ControlBytes];
        *(long*)control = 16 + descriptors.Length * 4;
        *(int*)(control + 8) = SOL_SOCKET;
        *(int*)(control + 12) = SCM_RIGHTS;
        descriptors.CopyTo(new Span<int>(control + 16, MaxPerMessage));
        byte one = 1;
        ulong* vector = stackalloc ulong[2] { (ulong)(&one), 1 };
        var message = new MessageHeader { Vector = (ulong)vector, VectorLength = 1, Control = (ulong)control, ControlBytes = (ulong)((16 + descriptors.Length * 4 + 7) & ~7) };
        Syscall.Invoke(SyscallNumber.sendmsg, _engineEnd.Fd, (long)(&message), MSG_NOSIGNAL).OrThrow("sendmsg", "transport");
    }

    /// <summary>Adds the task's call that receives one message of <paramref name="count"/> descriptors.</summary>
    public void Receive(RemoteCalls calls, int count)
    {
        calls.Room(ControlBytes + 256, 2);
        RemoteAddress control = calls.Batch.Reserve(16 + count * 4 + 8);
        RemoteAddress data = calls.Batch.Reserve(16);
        RemoteAddress vector = calls.Batch.Data<(ulong, ulong)>((data.Value, 1));
        RemoteAddress message = calls.Batch.Data(new MessageHeader
        {
            Vector = vector.Value,
            VectorLength = 1,
            Control = control.Value,
            ControlBytes = (ulong)((16 + count * 4 + 7) & ~7),
        });
        calls.Must("receiving open files", SyscallNumber.recvmsg, TaskEnd, message, MSG_CMSG_CLOEXEC);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        _engineEnd.Dispose();
        Sys.Close(TaskEnd);
    }

    /// <summary>struct msghdr.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct MessageHeader
    {
        public ulong Name;
        public uint NameBytes;
        public ulong Vector, VectorLength, Control, ControlBytes;
        public int Flags;
    }
}
