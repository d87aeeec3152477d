using System.Diagnostics;
using System.Text.RegularExpressions;

namespace CriuPmem.SystemTests;

/// <summary>The processes that a restore with --lazy leaves behind until all memory is there.</summary>
internal static class LazyPager
{
    /// <summary>Workloads that see that memory is still missing: a flag of mappings (um), a process that stops when its first page is there.</summary>
    public static IReadOnlyList<string> Seeing { get; } = ["mem_mlock_madv", "tree_shapes"];

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>Waits until a lazy restore from this directory has brought back everything.</summary>
    public static void WaitDone(string images)
    {
        string log = Path.Combine(images, "restore.log"); // the pager goes on writing into it
        if (!File.ReadAllText(log).Contains("left to the pager", StringComparison.Ordinal))
            return; // of a tree that shares all its pages nothing is left
        var clock = Stopwatch.StartNew();
        while (!File.ReadAllText(log).Contains("all memory is there", StringComparison.Ordinal))
        {
            if (clock.Elapsed > Patience)
                throw new TimeoutException($"the pager does not end.\n{Engine.Tail(log)}");
            Thread.Sleep(2);
        }
    }

    /// <summary>How often the program forked, moved, dropped or unmapped memory while the pager filled it.</summary>
    public static int EventsOf(string images) =>
        int.Parse(Regex.Match(File.ReadAllText(Path.Combine(images, "restore.log")), "([0-9]+) events answered").Groups[1].Value);

    /// <summary>Waits until neither pager nor guardian works from this directory.</summary>
    public static void WaitGone(string images)
    {
        foreach (string name in (string[])["criu-pmem-pager", "criu-pmem-guard"])
        {
            if (TryFind(name, images) is { } left)
                ProcessTable.WaitGone([left], TimeSpan.FromSeconds(5), $"{name} of a restore that failed");
        }
    }

    /// <summary>The pager that works from this directory.</summary>
    public static int Find(string images) => With("criu-pmem-pager", images);

    /// <summary>Its guardian.</summary>
    public static int FindGuardian(string images) => With("criu-pmem-guard", images);

    /// <summary>A script that stops the pager before the tree runs, so that a test finds it in the middle of its work.</summary>
    public static string StopIt(LiveTree live, string images) => Failures.EngineRun.Script(live, "post-restore", $"""
        for process in $(pgrep -x criu-pmem-pager); do
          ls -l /proc/$process/fd 2>/dev/null | grep -q "{images}/" && kill -STOP $process
        done
        exit 0
        """);

    /// <summary>Sends a signal by name.</summary>
    public static void Signal(string signal, int pid) => Assert.Equal(0, Command.Run("/bin/kill", [$"-{signal}", $"{pid}"], Patience).ExitCode);

    private static int With(string name, string images) => TryFind(name, images)
        ?? throw new WorkloadFailure($"no process {name} works from {images}.\n{Engine.Tail(Path.Combine(images, "restore.log"))}");

    private static int? TryFind(string name, string images)
    {
        foreach (string folder in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(folder), out int pid))
                continue;
            try
            {
                if (File.ReadAllText($"{folder}/comm").Trim() == name
                    && Directory.EnumerateFiles($"{folder}/fd").Any(fd => File.ResolveLinkTarget(fd, false)?.FullName.StartsWith(images + "/", StringComparison.Ordinal) == true))
                    return pid;
            }
            catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
            {
                // It ended.
            }
        }

        return null;
    }
}
