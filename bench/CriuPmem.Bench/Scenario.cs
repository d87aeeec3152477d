namespace CriuPmem.Bench;

/// <summary>One row of the table: a program that is dumped and restored.</summary>
/// <param name="Name">Its name on the command line.</param>
/// <param name="Title">Its name in the table.</param>
/// <param name="CommandLine">The program; it has written $WORKLOAD_DIR/ready when it is ready.</param>
/// <param name="Repeats">Runs of each engine.</param>
/// <param name="MemoryBytes">Memory that is touched before each run, so that the host has given it to the guest.</param>
/// <param name="OursAlone">The peer is not measured.</param>
/// <param name="LeaveRunning">It is dumped with -R, and not restored: what counts is how long it stood still.</param>
internal sealed record Scenario(string Name, string Title, string[] CommandLine, int Repeats, long MemoryBytes = 0,
    bool OursAlone = false, bool LeaveRunning = false)
{
    private const string Memory = """
        import os, sys, time
        block = os.urandom(1 << 20)
        data = bytearray(int(sys.argv[1]) << 20)
        for at in range(0, len(data), len(block)): data[at:at + len(block)] = block
        open(os.environ["WORKLOAD_DIR"] + "/ready", "w").write(str(os.getpid()))
        time.sleep(100000)
        """;

    // Writes a page here and there all the time, about 4,000 in a second.
    private const string Writer = """
        import os, random, sys, time
        block = os.urandom(1 << 20)
        data = bytearray(int(sys.argv[1]) << 20)
        for at in range(0, len(data), len(block)): data[at:at + len(block)] = block
        open(os.environ["WORKLOAD_DIR"] + "/ready", "w").write(str(os.getpid()))
        while True:
            for _ in range(40): data[random.randrange(len(data))] = 1
            time.sleep(0.01)
        """;

    // A quarter each: files, pipe ends, socket ends, event counters; all but the files are in one epoll set.
    private const string Descriptors = """
        import os, resource, select, socket, sys, time
        count = int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
        home, kept = os.environ["WORKLOAD_DIR"], []
        for n in range(count // 4): kept.append(os.open(f"{home}/file{n % 100}", os.O_RDWR | os.O_CREAT))
        for n in range(count // 8): kept.append(os.pipe())
        for n in range(count // 8): kept.append(socket.socketpair())
        for n in range(count // 4): kept.append(os.eventfd(n))
        polled = select.epoll()
        for one in kept[count // 4:]:
            for end in one if isinstance(one, tuple) else (one,): polled.register(end, select.EPOLLIN)
        open(home + "/ready", "w").write(str(os.getpid()))
        time.sleep(100000)
        """;

    public static IReadOnlyList<Scenario> All(string workloads) =>
    [
        new("minimal", "a minimal process", ["/bin/sh", "-c", "echo $$ >$WORKLOAD_DIR/ready; exec sleep 100000"], 15),
        new("tree", "a tree of 200 processes", [Path.Combine(workloads, "tree_200")], 5),
        new("threads", "one process with 1,000 threads", [Path.Combine(workloads, "threads_basic"), "1000"], 5),
        new("memory1", "1 GiB of anonymous memory", Python(Memory, "1024"), 7, 3L << 30),
        new("memory4", "4 GiB of anonymous memory", Python(Memory, "4096"), 3, 9L << 30),
        new("live1", "1 GiB, being written to, dumped with -R", Python(Writer, "1024"), 5, 3L << 30, LeaveRunning: true),
        new("live4", "4 GiB, being written to, dumped with -R", Python(Writer, "4096"), 3, 9L << 30, LeaveRunning: true),
        new("mappings", "50,000 mappings", [Path.Combine(workloads, "mem_many"), "50000"], 5),
        new("descriptors", "4,000 descriptors of mixed kinds in an epoll set", Python(Descriptors, "4000"), 5),
        new("descriptors10", "10,000 descriptors of mixed kinds in an epoll set", Python(Descriptors, "10000"), 5, OursAlone: true),
    ];

    private static string[] Python(string source, string argument) => ["/usr/bin/python3", "-c", source, argument];
}
