using System.Globalization;
using CriuPmem.Kernel;

namespace CriuPmem.Cli.Hooks;

/// <summary>--daemon: the program starts itself again, in a session of its own, and ends when that is ready to serve.</summary>
/// <remarks>
/// A managed program cannot fork. The second one is started with two words in front of the same arguments, which are in no
/// help; it prints what goes wrong where the first one would have, until it is ready.
/// </remarks>
internal static unsafe class Background
{
    private const string Word = "in-background";
    private const int O_RDWR = 2, O_CLOEXEC = 0x80000, F_SETFD = 2, AT_FDCWD = -100;

    private static int s_readyFd = -1;

    /// <summary>True in the program that serves.</summary>
    public static bool IsHere { get; private set; }

    /// <summary>Takes the two words off, if they are there.</summary>
    public static string[] Take(string[] arguments)
    {
        if (arguments.Length < 2 || arguments[0] != Word || !int.TryParse(arguments[1], NumberStyles.None, CultureInfo.InvariantCulture, out s_readyFd)) return arguments;
        IsHere = true;
        Syscall.Invoke(SyscallNumber.fcntl, s_readyFd, F_SETFD, 1 /* FD_CLOEXEC */);
        return arguments[2..];
    }

    /// <summary>Starts it, waits until it is ready, or ends; returns the exit code.</summary>
    /// <param name="arguments">How many arguments this program was started with.</param>
    public static int Start(int arguments)
    {
        int* pair = stackalloc int[2];
        Syscall.Invoke(SyscallNumber.pipe2, (long)pair, O_CLOEXEC).OrThrow("pipe2", "readiness");
        using var ready = new OwnedFd(pair[0]);
        using var told = new OwnedFd(pair[1]);
        using var block = new NativeStrings();
        nint* argv = block.Array(Words(arguments, told.Fd));
        nint* environment = block.Array(Texts("/proc/self/environ"));
        var calls = new ChildCalls.Call[]
        {
            new(SyscallNumber.setsid),
            new(SyscallNumber.fcntl, told.Fd, F_SETFD, 0),
            new(SyscallNumber.execve, block.String("/proc/self/exe\0"u8.ToArray()), (long)argv, (long)environment) { Result = 1 },
        };
        int pid = (int)ChildCalls.Start(calls, ChildCalls.UntilExec).OrThrow("clone3", "the server");
        if (calls[^1].Result != 1) new SysResult(calls[^1].Result).OrThrow("execve", "the server");
        told.Dispose(); // so that the pipe ends with it
        Span<byte> one = stackalloc byte[1];
        SysResult read;
        do read = Sys.Read(ready.Fd, one);
        while (read.Errno == Errno.EINTR);
        return read.Raw == 1 ? 0 : ChildExit.Wait(pid);
    }

    /// <summary>It serves: who started it may go; nothing is printed any more.</summary>
    public static void Ready()
    {
        if (!IsHere || s_readyFd < 0) return;
        SysResult nowhere = Sys.OpenAt(AT_FDCWD, "/dev/null", O_RDWR);
        for (int fd = 0; fd <= 2 && !nowhere.Failed; fd++) Syscall.Invoke(SyscallNumber.dup2, nowhere.Value, fd);
        Sys.WriteAll(s_readyFd, "1"u8);
        Sys.Close(s_readyFd);
        s_readyFd = -1;
    }

    /// <summary>The words that this program was started with, byte by byte, and the two in front of its arguments.</summary>
    private static byte[][] Words(int arguments, int readyFd)
    {
        byte[][] all = Texts("/proc/self/cmdline");
        int own = all.Length - arguments; // one, or two under "dotnet criu-pmem.dll"
        return [.. all[..own], LinuxText.EncodeZ(Word), LinuxText.EncodeZ(readyFd.ToString(CultureInfo.InvariantCulture)), .. all[own..]];
    }

    private static byte[][] Texts(string file)
    {
        SmallFile.TryRead(file, out byte[] all);
        var texts = new List<byte[]>();
        for (int at = 0; at < all.Length;)
        {
            int end = Array.IndexOf(all, (byte)0, at);
            if (end < 0) break;
            texts.Add(all[at..(end + 1)]);
            at = end + 1;
        }

        return [.. texts];
    }
}
