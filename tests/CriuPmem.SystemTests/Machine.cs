using System.Net.NetworkInformation;

namespace CriuPmem.SystemTests;

/// <summary>Where things are on this machine, and what the run was asked for.</summary>
internal static class Machine
{
    public static string Top { get; } = FindTop();

    public static string Workloads => Path.Combine(Top, "artifacts", "workloads");

    public static bool Quick => Environment.GetEnvironmentVariable("CRIU_TEST_QUICK") == "1";

    /// <summary>
    /// "0": without the peer; "1": both crosses; "self": also the peer alone, which validates the workloads; "only":
    /// nothing but that.
    /// </summary>
    public static string PeerMode => Environment.GetEnvironmentVariable("CRIU_TEST_PEER") ?? "0";

    public static string PeerPrefix
    {
        get
        {
            string? prefix = Environment.GetEnvironmentVariable("CRIU_PEER_PREFIX");
            return string.IsNullOrEmpty(prefix) ? "/opt/criu-peer" : prefix;
        }
    }

    public static bool IsRoot => Environment.UserName == "root";

    /// <summary>Everything a test leaves behind lies below one directory in memory.</summary>
    public static string Scratch { get; } = MakeScratch();

    /// <summary>
    /// Numbers of processes are handed out in a circle of 32768 by default: with a thousand threads a test, a number
    /// that was dumped would now and then be taken before it is restored.
    /// </summary>
    public static void WidenPids()
    {
        const string path = "/proc/sys/kernel/pid_max";
        if (IsRoot && int.Parse(File.ReadAllText(path)) < 4_000_000)
        {
            try
            {
                File.WriteAllText(path, "4194304");
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                // A read-only /proc/sys, as in containers: the tests run all the same.
            }
        }
    }

    /// <summary>A TCP port of 127.0.0.1 that nobody uses, outside of what clients are given.</summary>
    public static int FreePort()
    {
        while (true)
        {
            int port = 20_000 + Random.Shared.Next(10_000);
            if (!IsListening(port))
                return port;
        }
    }

    /// <summary>True when somebody listens on a TCP port.</summary>
    public static bool IsListening(int port) => IPGlobalProperties.GetIPGlobalProperties().GetActiveTcpListeners()
        .Any(listener => listener.Port == port);

    /// <summary>Removes a directory whatever the names below it are made of.</summary>
    public static void Delete(string folder) => Command.Run("/bin/rm", ["-rf", folder], TimeSpan.FromSeconds(30));

    private static string FindTop()
    {
        for (string? folder = AppContext.BaseDirectory; folder != null; folder = Path.GetDirectoryName(folder))
        {
            if (File.Exists(Path.Combine(folder, "CriuPmem.slnx")))
                return folder;
        }

        throw new InvalidOperationException("The tests must run below the repository's top folder.");
    }

    private static string MakeScratch()
    {
        string root = Directory.Exists("/dev/shm") ? "/dev/shm" : "/tmp";
        string path = Path.Combine(root, $"criu-pmem-tests.{Environment.ProcessId}");
        Directory.CreateDirectory(path);
        AppDomain.CurrentDomain.ProcessExit += (_, _) =>
        {
            if (Environment.GetEnvironmentVariable("CRIU_TEST_KEEP") != "1")
                Delete(path);
        };
        WidenPids();
        return path;
    }
}
