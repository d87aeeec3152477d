using System.Runtime.InteropServices;
using CriuPmem.Engine.Restore;

namespace CriuPmem.Engine.Lazy;

/// <summary>Starts the pager: this program again, in a session of its own, with the descriptors that it serves and no others.</summary>
internal sealed unsafe class PagerStart : IDisposable
{
    private const uint CLOSE_RANGE_CLOEXEC = 4;
    private const int SIG_SETMASK = 2;

    private readonly int _pid;
    private readonly OwnedFd _socket;
    private bool _serves;

    private PagerStart(int pid, OwnedFd socket) => (_pid, _socket) = (pid, socket);

    /// <summary>Starts it; it takes a while until it serves, and who touches missing memory before waits.</summary>
    public static PagerStart Start(RestoreContext context, PagerPlan plan)
    {
        Sys.SocketPair(SOCK_STREAM, out int here, out int there).OrThrow("socketpair", "the pager");
        var socket = new OwnedFd(here);
        using var its = new OwnedFd(there); // closed here, so that the connection ends with the pager
        plan.ControlFd = there;
        using var file = new OwnedFd(plan.Write());
        using var nowhere = new OwnedFd((int)Sys.OpenAt(AT_FDCWD, "/dev/null", O_RDWR).OrThrow("open", "/dev/null"));
        int pid = Spawn(context.Options.PagerCommand, plan, file.Fd, nowhere.Fd);
        context.AtFailure.Add(() => End(pid));
        return new PagerStart(pid, socket);
    }

    /// <summary>Waits until it serves.</summary>
    /// <exception cref="CheckpointException">It did not come so far.</exception>
    public void Await()
    {
        if (_serves) return;
        Span<byte> one = stackalloc byte[1];
        SysResult read;
        do read = Sys.Read(_socket.Fd, one);
        while (read.Errno == Errno.EINTR);
        _serves = read.Raw == 1;
        if (_serves) return;
        throw new CheckpointException(ErrorCode.RestoredDied, "the pager, which was to bring memory back while the program runs, ended as it was started")
        {
            Pid = _pid,
            Remedy = "Restore without --lazy; the log says more with -v4 -o FILE",
        };
    }

    /// <summary>It may fill what nobody waits for.</summary>
    public void Release() => Sys.Send(_socket.Fd, "1"u8, MSG_NOSIGNAL);

    /// <inheritdoc />
    public void Dispose() => _socket.Dispose();

    private static void End(int pid)
    {
        Sys.Kill(pid, SIGKILL); // a child of ours, not waited for yet: nobody else has its number
        Sys.Wait4(pid, out _, __WALL);
    }

    private static int Spawn(IReadOnlyList<string> command, PagerPlan plan, int planFd, int nullFd)
    {
        byte*[] texts = Texts([.. command, planFd.ToString(System.Globalization.CultureInfo.InvariantCulture), "/proc/self/exe", "/"]);
        var argv = (byte**)NativeMemory.AllocZeroed((nuint)texts.Length, (nuint)sizeof(byte*));
        byte** none = stackalloc byte*[1] { null };
        ulong* mask = stackalloc ulong[1] { 0 };
        for (int i = 0; i < texts.Length - 2; i++) argv[i] = texts[i];
        try
        {
            List<ChildCalls.Call> calls =
            [
                new(SyscallNumber.setsid),
                new(SyscallNumber.dup2, nullFd, 0), new(SyscallNumber.dup2, nullFd, 1), new(SyscallNumber.dup2, nullFd, 2),
                new(SyscallNumber.close_range, 3, uint.MaxValue, CLOSE_RANGE_CLOEXEC),
                new(SyscallNumber.fcntl, planFd, F_SETFD, 0),
                .. plan.Descriptors.Select(static fd => new ChildCalls.Call(SyscallNumber.fcntl, fd, F_SETFD, 0)),
                new(SyscallNumber.chdir, (long)texts[^1]),
                new(SyscallNumber.rt_sigprocmask, SIG_SETMASK, (long)mask, 0, sizeof(ulong)),
                new(SyscallNumber.execve, (long)texts[^2], (long)argv, (long)none),
            ];
            int pid = (int)ChildCalls.Start(CollectionsMarshal.AsSpan(calls), ChildCalls.UntilExec).OrThrow("clone3", "the pager");
            if (calls[^1].Result == 0) return pid; // an execve that succeeds does not return
            Sys.Wait4(pid, out _, __WALL);
            new SysResult(calls[^1].Result).OrThrow("execve", "the pager");
            return pid;
        }
        finally
        {
            foreach (byte* text in texts) NativeMemory.Free(text);
            NativeMemory.Free(argv);
        }
    }

    /// <summary>Zero-terminated texts outside the managed heap.</summary>
    private static byte*[] Texts(string[] texts)
    {
        var all = new byte*[texts.Length];
        for (int i = 0; i < texts.Length; i++)
        {
            byte[] bytes = LinuxText.EncodeZ(texts[i]);
            all[i] = (byte*)NativeMemory.Alloc((nuint)bytes.Length);
            bytes.CopyTo(new Span<byte>(all[i], bytes.Length));
        }

        return all;
    }
}
