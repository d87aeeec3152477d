using System.Buffers.Binary;
using CriuPmem.Images.Messages;
using CriuPmem.SystemTests.Failures;
using Google.Protobuf;

namespace CriuPmem.SystemTests;

/// <summary>CPU features in the images, and what a restore on a CPU without them says (--cpu-cap, cpuinfo).</summary>
public sealed class CpuInfoTests
{
    // No CPU has these: Knights Landing had the first, never with AMD's.
    private const int ExtendedEbx = 9, AmdEdx = 1, Avx512Pf = 26, Amd3DNow = 31;

    [Fact]
    public void MissingInstructions_RestoreRefuses_AndNamesThem()
    {
        using LiveWorkload live = Dumped(out string images);
        Change(images, cpu =>
        {
            cpu.Capability[ExtendedEbx] |= 1u << Avx512Pf;
            cpu.Capability[AmdEdx] |= 1u << Amd3DNow;
        });
        EngineRun.Refuses(["restore", "-d", "-D", images], "CP1404", "avx512pf", "3dnow", "--cpu-cap");
        EngineRun.Refuses(["restore", "-d", "-D", images, "--cpu-cap=ins"], "CP1404", "avx512pf");
        live.ExpectGone("after a restore that was refused");
        Again(live, images, "--cpu-cap=^ins");
    }

    [Fact]
    public void MissingState_RestoreRefuses()
    {
        using LiveWorkload live = Dumped(out string images);
        Change(images, cpu => cpu.XfeaturesMask |= 1UL << 62);
        EngineRun.Refuses(["restore", "-d", "-D", images], "CP1404", "0x4000000000000000");
        EngineRun.Refuses(["restore", "-d", "-D", images, "--cpu-cap=fpu"], "CP1404", "0x4000000000000000");
        Change(images, cpu =>
        {
            cpu.XfeaturesMask = 1;
            cpu.XsaveSizeMax = 1 << 20;
        });
        EngineRun.Refuses(["restore", "-d", "-D", images], "CP1404", "1048576");
        Again(live, images, "--cpu-cap=ins");
    }

    [Fact]
    public void AnotherCpu_RefusedOnlyWhenAllMustBeEqual()
    {
        using LiveWorkload live = Dumped(out string images);
        Change(images, cpu => cpu.Capability[4] &= ~1u); // SSE3, which every CPU has
        EngineRun.Refuses(["restore", "-d", "-D", images, "--cpu-cap=cpu"], "CP1404", "besides pni");
        EngineRun.Refuses(["restore", "-d", "-D", images, "--cpu-cap"], "CP1404", "besides pni");
        Again(live, images);
    }

    [Fact]
    public void NotSaved_OnlyWhatWasAskedForIsMissed()
    {
        using LiveWorkload live = Dumped(out string images, "--cpu-cap=none");
        Assert.False(File.Exists(Image(images)));
        EngineRun.Refuses(["restore", "-d", "-D", images, "--cpu-cap=ins"], "CP1301", "cpuinfo.img", "--cpu-cap=fpu");
        Again(live, images);
    }

    /// <summary>What differs from a CPU without anything is all that this one has: under the names of /proc/cpuinfo.</summary>
    [Fact]
    public void Names_AreThoseOfTheKernel()
    {
        string directory = Directory.CreateTempSubdirectory("criu-pmem-cpu.").FullName;
        Assert.Equal(0, EngineRun.Run("cpuinfo", "dump", "-D", directory).ExitCode);
        Assert.Equal(0, EngineRun.Run("cpuinfo", "check", "-D", directory, "--cpu-cap=all").ExitCode);
        Change(directory, cpu =>
        {
            for (int i = 0; i < cpu.Capability.Count; i++)
                cpu.Capability[i] = 0;
            for (int i = 0; i < cpu.MoreCapability.Count; i++)
                cpu.MoreCapability[i] = 0;
        });
        string line = EngineRun.Refuses(["cpuinfo", "check", "-D", directory, "--cpu-cap=cpu"], "CP1404", "besides");
        var told = line.Split(' ').ToHashSet();
        string[] flags = File.ReadLines("/proc/cpuinfo").First(text => text.StartsWith("flags", StringComparison.Ordinal)).Split(' ');
        string[] instructions =
        [
            "fpu", "cx8", "cmov", "mmx", "fxsr", "sse", "sse2", "syscall", "rdtscp", "lm", "pni", "pclmulqdq", "ssse3", "fma", "cx16", "sse4_1", "sse4_2",
            "movbe", "popcnt", "aes", "xsave", "avx", "f16c", "rdrand", "lahf_lm", "abm", "sse4a", "fsgsbase", "bmi1", "avx2", "bmi2", "avx512f", "rdseed",
            "adx", "clflushopt", "clwb", "sha_ni", "avx512bw", "avx512vl", "xsaveopt", "xsavec", "xgetbv1", "gfni", "vaes", "vpclmulqdq", "avx512_vnni",
            "avx512_bitalg", "avx512_vpopcntdq", "rdpid", "clzero", "avx_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16", "serialize", "movdiri",
        ];
        string[] unnamed = [.. instructions.Where(name => flags.Contains(name) && !told.Contains(name))];
        Assert.True(unnamed.Length == 0, $"in /proc/cpuinfo, but not in: {line}\n{string.Join(' ', unnamed)}");
        string[] wrong = [.. instructions.Where(name => told.Contains(name) && !flags.Contains(name))];
        Assert.True(wrong.Length == 0, $"not in /proc/cpuinfo: {string.Join(' ', wrong)}");
        Machine.Delete(directory);
    }

    [Theory]
    [InlineData("ours-to-peer")]
    [InlineData("peer-to-ours")]
    public void OneWrites_TheOtherChecks(string direction)
    {
        if (Machine.PeerMode is "0" or "")
            Assert.Skip("needs the peer");
        Direction who = Direction.Named(direction);
        string directory = Directory.CreateTempSubdirectory("criu-pmem-cpu.").FullName;
        foreach ((Engine engine, string verb) in ((Engine, string)[])[(who.Dumps, "dump"), (who.Restores, "check")])
        {
            Command command = Command.Run(engine.Program, ["cpuinfo", verb, "-D", directory, "--cpu-cap=all"], Engine.Limit);
            Assert.True(command.ExitCode == 0, $"{engine.Name} cpuinfo {verb}: {command.Output}");
        }

        Change(directory, cpu => cpu.Capability[ExtendedEbx] |= 1u << Avx512Pf);
        Assert.NotEqual(0, Command.Run(who.Restores.Program, ["cpuinfo", "check", "-D", directory], Engine.Limit).ExitCode);
        Machine.Delete(directory);
    }

    private static string Image(string images) => Path.Combine(images, "cpuinfo.img");

    private static LiveWorkload Dumped(out string images, params string[] options)
    {
        var live = new LiveWorkload(Workload.Named("mem_brk"));
        live.Check("before the dump");
        images = live.NewImages("images");
        List<int> before = live.Processes();
        live.Dump(Engine.Ours, images, options);
        ProcessTable.WaitGone(before, TimeSpan.FromSeconds(10), "dump");
        return live;
    }

    private static void Again(LiveWorkload live, string images, params string[] options)
    {
        Engine.Ours.Restore(images, options);
        live.Check("after the restore");
        live.Stop();
    }

    // Two magics of 4 bytes, the entry's size, the entry: docs/images.md.
    private static void Change(string images, Action<CpuinfoX86Entry> change)
    {
        byte[] bytes = File.ReadAllBytes(Image(images));
        CpuinfoEntry entry = CpuinfoEntry.Parser.ParseFrom(bytes, 12, BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(8)));
        change(entry.X86Entry[0]);
        byte[] changed = entry.ToByteArray();
        byte[] length = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, changed.Length);
        File.WriteAllBytes(Image(images), [.. bytes[..8], .. length, .. changed]);
    }
}
