using System.Globalization;

namespace CriuPmem.SystemTests.Failures;

/// <summary>
/// Truncated images and flipped bits: restore says what is wrong, or succeeds where the damage cannot be seen. It never
/// crashes, hangs, or leaves half a tree. Every restore runs in a pid namespace of its own, which ends with it.
/// </summary>
public sealed class DamageTests
{
    // Process 1 of the namespace: restores, tells the exit code, and who is there besides itself, zombies left out.
    private const string Judge = """
        "$1" restore -d -D "$2" -v4 -o restore.log >"$2/output" 2>&1
        echo "exit $?" >"$2/verdict"
        for p in /proc/[0-9]*; do
          p=${p#/proc/}
          [ "$p" = 1 ] || { read -r _ _ state _ <"/proc/$p/stat"; [ "$state" = Z ] || echo "left $p"; } 2>/dev/null
        done >>"$2/verdict"
        """;

    // What stands in these can send a program astray without any of it being wrong in itself.
    private static readonly string[] OfTheProgramItself = ["core-", "mm-", "pagemap-", "pages-"];

    private static readonly string[] Workloads = ["tree_shapes", "threads_basic", "fd_regular", "timers_posix"];

    [Fact]
    public void Undamaged_RestoresInANamespaceOfItsOwn()
    {
        using LiveWorkload live = Dumped("threads_basic", out string images);
        string? problem = Restore(images, "the same", out int exitCode);
        Assert.True(problem is null && exitCode == 0, $"{problem}\n{File.ReadAllText(Path.Combine(images, "output"))}");
    }

    [Theory]
    [InlineData("tree_shapes")]
    [InlineData("fd_regular")]
    public void Truncated_EveryFile(string workload)
    {
        using LiveWorkload live = Dumped(workload, out string images);
        var problems = new List<string>();
        foreach (string name in Images(images))
        {
            long length = new FileInfo(Path.Combine(images, name)).Length;
            foreach (long keep in new[] { 0, 3, length / 2, length - 1 }.Where(keep => keep < length).Distinct())
            {
                string copy = Copy(images, live);
                using (FileStream file = File.OpenWrite(Path.Combine(copy, name)))
                    file.SetLength(keep);
                string? problem = Restore(copy, name, out int exitCode);
                string what = $"{workload}, {name} cut to {keep} of {length} bytes";
                if (problem is not null)
                    problems.Add($"{what}: {problem}");
                else if (exitCode != 0 && !Said(copy).Contains(name, StringComparison.Ordinal))
                    problems.Add($"{what}: the message does not name the file: {Said(copy)}");
                Machine.Delete(copy);
            }
        }

        Assert.True(problems.Count == 0, string.Join('\n', problems));
    }

    [Fact]
    public void FlippedBit_Anywhere() => Seed.Run(random =>
    {
        var problems = new List<string>();
        int each = (Machine.Quick ? 40 : 400) / Workloads.Length;
        foreach (string workload in Workloads)
        {
            using LiveWorkload live = Dumped(workload, out string images);
            string[] names = [.. Images(images)];
            for (int i = 0; i < each; i++)
            {
                string name = names[random.Next(names.Length)];
                string copy = Copy(images, live);
                string path = Path.Combine(copy, name);
                byte[] bytes = File.ReadAllBytes(path);
                int at = random.Next(bytes.Length), bit = random.Next(8);
                bytes[at] ^= (byte)(1 << bit);
                File.WriteAllBytes(path, bytes);
                if (Restore(copy, name, out _) is { } problem)
                    problems.Add($"{workload}, {name}, bit {bit} of byte {at} of {bytes.Length}: {problem}");
                Machine.Delete(copy);
            }
        }

        Assert.True(problems.Count == 0, $"{problems.Count} problems:\n" + string.Join('\n', problems));
    });

    /// <summary>Of compressed pages every bit is checked: restore never succeeds, and names the file.</summary>
    [Theory]
    [InlineData("lz4")]
    [InlineData("zstd")]
    public void FlippedBit_InCompressedPages_IsSeen(string method) => Seed.Run(random =>
    {
        using LiveWorkload live = Dumped("threads_basic", out string images, $"--compress={method}");
        var problems = new List<string>();
        for (int i = 0; i < (Machine.Quick ? 8 : 80); i++)
        {
            string copy = Copy(images, live);
            string[] files = Directory.GetFiles(copy, "cpages-*.img");
            string path = files[random.Next(files.Length)], name = Path.GetFileName(path);
            byte[] bytes = File.ReadAllBytes(path);
            // Every other one in header or index.
            int at = i % 2 == 0 ? random.Next(bytes.Length) : random.Next(96) is var near && near < 64 ? near : bytes.Length - 96 + near;
            bytes[at] ^= (byte)(1 << random.Next(8));
            File.WriteAllBytes(path, bytes);
            string? problem = Restore(copy, name, out int exitCode);
            if (problem is null && exitCode == 0)
                problem = "restores";
            if (problem is null && !(Said(copy).Contains(name, StringComparison.Ordinal) && Said(copy).Contains("[CP130", StringComparison.Ordinal)))
                problem = $"says {Said(copy)}";
            if (problem is not null)
                problems.Add($"{name}, byte {at} of {bytes.Length}: {problem}");
            Machine.Delete(copy);
        }

        Assert.True(problems.Count == 0, string.Join('\n', problems));
    });

    private static LiveWorkload Dumped(string workload, out string images, params string[] options)
    {
        var live = new LiveWorkload(Workload.Named(workload));
        images = live.NewImages("images");
        List<int> tree = live.Processes();
        live.Dump(Engine.Ours, images, options);
        ProcessTable.WaitGone(tree, TimeSpan.FromSeconds(10), "dump");
        return live;
    }

    private static IEnumerable<string> Images(string images) => Directory.GetFiles(images, "*.img")
        .Select(path => Path.GetFileName(path)).Where(name => new FileInfo(Path.Combine(images, name)).Length > 0)
        .Order(StringComparer.Ordinal);

    private static string Copy(string images, LiveWorkload live)
    {
        string copy = live.NewImages("damaged");
        foreach (string file in Directory.GetFiles(images, "*.img"))
            File.Copy(file, Path.Combine(copy, Path.GetFileName(file)));
        return copy;
    }

    private static string Said(string images) => File.ReadAllText(Path.Combine(images, "output")).Trim();

    /// <summary>Restores; returns what is wrong about how that ended, or null.</summary>
    private static string? Restore(string images, string damaged, out int exitCode)
    {
        exitCode = -1;
        Command run = Command.Run("unshare",
            ["--pid", "--fork", "--mount-proc", "--kill-child", "/bin/sh", "-c", Judge, "sh", Engine.Ours.Program, images],
            TimeSpan.FromSeconds(20));
        if (run.TimedOut)
            return $"hangs\n{Engine.Tail(Path.Combine(images, "restore.log"))}";
        string verdict = Path.Combine(images, "verdict");
        if (!File.Exists(verdict))
            return $"no verdict: {run.Output}";
        string[] lines = File.ReadAllLines(verdict);
        exitCode = int.Parse(lines[0].AsSpan("exit ".Length), CultureInfo.InvariantCulture);
        string said = Said(images);
        return exitCode switch
        {
            0 when lines.Length == 1 && !OfTheProgramItself.Any(prefix => damaged.StartsWith(prefix, StringComparison.Ordinal)) =>
                "reports success, and nothing runs",
            0 => null,
            1 when lines.Length > 1 => $"fails and leaves {string.Join(", ", lines[1..])}: {said}",
            1 when !said.Contains("[CP", StringComparison.Ordinal) => $"fails without a code: {said}",
            1 when said.Contains("[CP1001]", StringComparison.Ordinal) => $"a fault of our own: {said}",
            1 => null,
            _ => $"crashes with exit code {exitCode}: {said}",
        };
    }
}
