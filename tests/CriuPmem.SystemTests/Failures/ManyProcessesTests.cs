using System.Buffers.Binary;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.SystemTests.Failures;

/// <summary>Failures of one process of a large tree, while the calls of others run at the same time.</summary>
public sealed class ManyProcessesTests
{
    private const int HeaderBytes = 8; // two magic numbers

    /// <summary>A call that fails in the middle is told with its process, and nothing is left of the others.</summary>
    [Theory]
    [InlineData(40)]
    [InlineData(199)]
    public void OneCannotHaveItsMemory_IsNamed_AndNothingIsLeft(int which)
    {
        using var live = new LiveWorkload(Workload.Named("tree_200"));
        live.Check("before the dump");
        string images = live.NewImages("images");
        List<int> before = live.Processes();
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(30), "dump");
        int pid = before.Order().ElementAt(which);
        string path = Path.Combine(images, $"mm-{pid}.img");
        byte[] whole = File.ReadAllBytes(path);
        Change(path, memory => memory.Vmas[^3].Madv |= 1UL << 63); // no such advice exists: EINVAL
        string line = EngineRun.Refuses(["restore", "-d", "-D", images], "CP1000", $"({pid})", "madvise");
        Assert.Contains($"mm-{pid}.img", line, StringComparison.Ordinal);
        live.ExpectGone("after a restore that failed in the middle");
        File.WriteAllBytes(path, whole);
        live.Restore(Engine.Ours, images);
        live.Check("after the restore");
        live.Stop();
    }

    /// <summary>A number is taken after the restore has looked whether it is free: the others, made with it, are ended.</summary>
    /// <remarks>In a pid namespace of its own, where nobody else takes numbers.</remarks>
    [Fact]
    public void OneCannotBeMade_IsNamed_AndNothingIsLeft()
    {
        const string judge = """
            "$1" restore -d -D "$2" --action-script "$3" >"$2/output" 2>&1
            echo "exit $?" >"$2/verdict"
            for p in /proc/[0-9]*; do
              read -r _ name state _ <"$p/stat" && [ "$state" != Z ] && echo "left $name"
            done >>"$2/verdict" 2>&1
            """;
        using var live = new LiveWorkload(Workload.Named("tree_200"));
        string images = live.NewImages("images");
        List<int> before = live.Processes();
        live.Dump(Engine.Ours, images);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(30), "dump");
        int pid = before.Order().ElementAt(120);
        string script = EngineRun.Script(live, "pre-restore", $"echo {pid - 1} >/proc/sys/kernel/ns_last_pid; sleep 1000 >/dev/null 2>&1 &");
        Command run = Command.Run("unshare", ["--pid", "--fork", "--mount-proc", "--kill-child", "/bin/sh", "-c", judge, "sh", Engine.Ours.Program, images, script], TimeSpan.FromSeconds(60));
        Assert.False(run.TimedOut, run.Output);
        string[] verdict = File.ReadAllLines(Path.Combine(images, "verdict"));
        string said = File.ReadAllText(Path.Combine(images, "output"));
        Assert.Equal("exit 1", verdict[0]);
        Assert.Contains($"the number {pid} is in use by sleep [CP1400]", said, StringComparison.Ordinal);
        Assert.Contains("left (sleep)", verdict);
        Assert.DoesNotContain(verdict, line => line.Contains("tree_200", StringComparison.Ordinal));
    }

    private static void Change(string path, Action<MmEntry> change)
    {
        byte[] bytes = File.ReadAllBytes(path);
        MmEntry memory = MmEntry.Parser.ParseFrom(bytes, HeaderBytes + 4, BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(HeaderBytes)));
        change(memory);
        byte[] changed = new byte[HeaderBytes + 4 + memory.CalculateSize()];
        bytes.AsSpan(0, HeaderBytes).CopyTo(changed);
        BinaryPrimitives.WriteInt32LittleEndian(changed.AsSpan(HeaderBytes), memory.CalculateSize());
        memory.ToByteArray().CopyTo(changed, HeaderBytes + 4);
        File.WriteAllBytes(path, changed);
    }
}
