using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace CriuPmem.SystemTests.Programs;

/// <summary>A terminal (pty(7)) with a person's shell on it, and the person: keys go in, what is on the screen comes out.</summary>
internal sealed partial class Terminal : IDisposable
{
    private const int O_RDWR = 2;
    private const int O_NOCTTY = 0x100;
    private const int O_CLOEXEC = 0x80000;

    private readonly FileStream _master;
    private readonly StringBuilder _seen = new();
    private readonly string _home;

    /// <summary>Opens a terminal and starts a shell on it that is no part of the tree under test.</summary>
    /// <param name="home">A directory of the shell's own: its mark in the process table.</param>
    public Terminal(string home)
    {
        _home = home;
        int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (fd < 0 || grantpt(fd) != 0 || unlockpt(fd) != 0)
            throw new InvalidOperationException("no pseudo terminal");
        var name = new byte[64];
        _ = ptsname_r(fd, name, (nuint)name.Length);
        Path = Encoding.ASCII.GetString(name).TrimEnd('\0');
        _master = new FileStream(new SafeFileHandle(fd, ownsHandle: true), FileAccess.ReadWrite, bufferSize: 0);
        new Thread(Read) { IsBackground = true }.Start();
        const string start = """
            setsid -c env TERM=xterm PS1='READY> ' bash --norc --noprofile -i <"$1" >"$1" 2>&1 &
            """;
        var environment = new Dictionary<string, string> { [ProcessTable.Mark] = home };
        Command.Run("/bin/sh", ["-c", start, "sh", Path], TimeSpan.FromSeconds(10), environment);
        Expect("READY> ", 0);
        Type("stty rows 24 cols 80\n");
    }

    /// <summary>The terminal's device, /dev/pts/N.</summary>
    public string Path { get; }

    /// <summary>How much was shown so far: a point in time for <see cref="Expect"/>.</summary>
    public int Mark
    {
        get
        {
            lock (_seen)
                return _seen.Length;
        }
    }

    /// <summary>All that was shown since a mark.</summary>
    public string Since(int mark)
    {
        lock (_seen)
            return _seen.ToString(mark, _seen.Length - mark);
    }

    /// <summary>Presses keys.</summary>
    public void Type(string keys) => _master.Write(Encoding.UTF8.GetBytes(keys));

    /// <summary>Waits until a text has been shown since a mark.</summary>
    public void Expect(string text, int since)
    {
        for (int i = 0; i < 5000; i++)
        {
            if (Since(since).Contains(text, StringComparison.Ordinal))
                return;
            Thread.Sleep(2);
        }

        string tail = Since(since);
        throw new WorkloadFailure($"the terminal does not show \"{text}\", but:\n{tail[Math.Max(0, tail.Length - 1500)..]}");
    }

    public void Dispose()
    {
        ProcessTable.KillMarked(_home);
        _master.Dispose();
    }

    private void Read()
    {
        var buffer = new byte[4096];
        try
        {
            while (true)
            {
                int count = _master.Read(buffer);
                lock (_seen)
                    _seen.Append(Encoding.UTF8.GetString(buffer, 0, count));
            }
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException)
        {
            // The last process on the terminal has gone.
        }
    }

    [LibraryImport("libc")]
    private static partial int posix_openpt(int flags);

    [LibraryImport("libc")]
    private static partial int grantpt(int fd);

    [LibraryImport("libc")]
    private static partial int unlockpt(int fd);

    [LibraryImport("libc")]
    private static partial int ptsname_r(int fd, [Out] byte[] name, nuint length);
}
