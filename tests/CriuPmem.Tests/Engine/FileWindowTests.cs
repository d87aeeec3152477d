using System.Diagnostics;
using System.Globalization;
using CriuPmem.Engine;
using CriuPmem.Engine.Dump;
using CriuPmem.Engine.Memory;
using CriuPmem.Kernel;
using CriuPmem.Remote;

namespace CriuPmem.Tests.Engine;

/// <summary>A process copies through a window into a file; when that faults it goes on as if nothing had been.</summary>
public sealed class FileWindowTests
{
    private const int Bytes = 2 << 20;

    [Fact]
    public void Copy_IsWhatTheMemoryHas_AndFaultLeavesNothing()
    {
        int pid = StartSleeper();
        try
        {
            string before = State(pid);
            (bool whole, bool copied, byte[] expected, byte[] actual) = TracerThread.Run("test", () => Copy(pid));
            Assert.False(whole);
            Assert.True(copied);
            Assert.Equal(expected, actual);
            Assert.Equal(before, State(pid));
        }
        finally
        {
            Sys.Kill(pid, 9);
        }
    }

    /// <summary>With a handler for the fault, which must stay. Not a child of ours: .NET waits for those, and would take the tracer's stops away.</summary>
    private static int StartSleeper()
    {
        using var shell = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", "perl -e '$SIG{SEGV} = sub { exit 1 }; $0 = \"ready\"; sleep 1000' >/dev/null 2>&1 & echo $!"]) { RedirectStandardOutput = true })!;
        int pid = int.Parse(shell.StandardOutput.ReadLine()!, CultureInfo.InvariantCulture);
        shell.WaitForExit();
        Assert.True(SpinWait.SpinUntil(() => File.ReadAllText($"/proc/{pid}/cmdline").StartsWith("ready", StringComparison.Ordinal), TimeSpan.FromSeconds(5)));
        return pid;
    }

    private static (bool Whole, bool Copied, byte[] Expected, byte[] Actual) Copy(int pid)
    {
        using FrozenTree tree = FrozenTree.Freeze(pid, 10, new EngineLog(2, EngineLog.LevelError));
        DumpProcess process = MemoryTracking.Begin(tree, takeOver: false)![0];
        using var file = new OwnedFd((int)Sys.MemfdCreate("window", 0).OrThrow("memfd_create", "test"));
        Sys.Truncate(file.Fd, Bytes).OrThrow("ftruncate", "test");
        MemoryMapping stack = process.Mappings.Single(mapping => mapping.Name == "[stack]");
        ulong page = stack.End - 4096;
        var window = new FileWindow(process.Space!, process.Leader.Task, process.CopyOf, file.Fd, Free(pid), 1UL << 32);
        bool whole = window.TryCopy(0, Bytes, [(page, 0, 4096), (0x1000, 4096, 4096)]);
        bool copied = window.TryCopy(0, Bytes, [(page, 8192, 4096)]);
        var expected = new byte[4096];
        Assert.True(process.TryRead(page, expected));
        var actual = new byte[4096];
        Sys.PRead(file.Fd, actual, 8192).OrThrow("pread", "test");
        process.Tracker!.Dispose();
        tree.Release(FinalState.Running);
        return (whole, copied, expected, actual);
    }

    private static (int, int, int) Free(int pid)
    {
        HashSet<int> taken = [.. Directory.GetFiles($"/proc/{pid}/fd").Select(name => int.Parse(Path.GetFileName(name)!, CultureInfo.InvariantCulture))];
        int[] free = [.. Enumerable.Range(0, 1000).Where(number => !taken.Contains(number)).Take(3)];
        return (free[0], free[1], free[2]);
    }

    private static string State(int pid)
    {
        IEnumerable<string> signals = File.ReadLines($"/proc/{pid}/status").Where(line => line.StartsWith("Sig", StringComparison.Ordinal));
        IEnumerable<string> maps = File.ReadLines($"/proc/{pid}/maps").Select(line => line[..line.IndexOf(' ', StringComparison.Ordinal)]);
        IEnumerable<string?> fds = Directory.GetFiles($"/proc/{pid}/fd").Order().Select(Path.GetFileName);
        return string.Join('\n', [.. signals, .. maps, .. fds]);
    }
}
