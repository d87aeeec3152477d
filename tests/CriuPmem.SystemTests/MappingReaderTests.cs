using CriuPmem.Kernel;

namespace CriuPmem.SystemTests;

/// <summary>Mappings read by BPF are what smaps tells.</summary>
public sealed class MappingReaderTests
{
    [Theory]
    [InlineData("mem_mlock_madv", "")]
    [InlineData("mem_many", "3000")]
    [InlineData("mem_file_shared", "")]
    [InlineData("mem_cow_fork", "")]
    [InlineData("threads_basic", "20")]
    public void ByIterator_TellsTheSameAsSmaps(string name, string arguments)
    {
        if (!File.Exists("/sys/kernel/btf/vmlinux")) Assert.Skip("this kernel does not describe its types");
        Workload workload = Workload.Named(name);
        using LiveWorkload live = arguments.Length == 0 ? new LiveWorkload(workload) : new LiveWorkload(name, [], [workload.Executable, arguments]);
        using ProcDirectory process = ProcDirectory.TryOpen(live.Pid)!;
        var told = new List<MemoryMapping>();
        var read = new List<MemoryMapping>();
        var reader = new MappingReader();
        Assert.True(SmapsParser.TryRead(process, "smaps", told));
        Assert.True(reader.TryRead(process, large: true, read));
        Assert.Equal(told.Count, read.Count);
        Assert.Equal(told.Count(mapping => mapping.Name != "[vsyscall]"), reader.ByIterator);
        foreach ((MemoryMapping expected, MemoryMapping actual) in told.Zip(read))
        {
            Assert.Equal((expected.Start, expected.End, expected.Name), (actual.Start, actual.End, actual.Name));
            Assert.True(expected.Name == "[vsyscall]" || expected.Flags == actual.Flags, $"{expected.Start:x} {expected.Name}: {expected.Flags} in smaps, {actual.Flags} by BPF");
            Assert.True(!expected.MayShareCopies || actual.MayShareCopies || name != "mem_cow_fork", $"{expected.Start:x} {expected.Name}: pages that a relative has too");
        }
    }

    /// <summary>What the engine has no mapping of is understood from the second time on.</summary>
    [Fact]
    public void UnknownBit_IsLearned()
    {
        if (!File.Exists("/sys/kernel/btf/vmlinux")) Assert.Skip("this kernel does not describe its types");
        using var live = new LiveWorkload(Workload.Named("mem_seal"));
        using ProcDirectory process = ProcDirectory.TryOpen(live.Pid)!;
        var first = new List<MemoryMapping>();
        var second = new List<MemoryMapping>();
        var reader = new MappingReader();
        Assert.True(reader.TryRead(process, large: true, first));
        Assert.Equal(0, reader.ByIterator);
        Assert.True(reader.TryRead(process, large: true, second));
        Assert.Equal(first.Count(mapping => mapping.Name != "[vsyscall]"), reader.ByIterator);
        Assert.Equal(first.Select(mapping => (mapping.Start, mapping.Flags)).SkipLast(1), second.Select(mapping => (mapping.Start, mapping.Flags)).SkipLast(1));
        Assert.Contains(second, mapping => (mapping.Flags & VmFlags.Sealed) != 0);
    }

    [Fact]
    public void Contradiction_IsSeen() =>
        Assert.False(new MappingFlagBits([(0x73, VmFlags.MayWrite), (0x2073, VmFlags.MayWrite | VmFlags.Locked), (0x73, VmFlags.Locked)]).IsConsistent);

    [Fact]
    public void UnknownBit_IsNotGuessed()
    {
        var bits = new MappingFlagBits([(0x73, VmFlags.MayWrite), (0x2073, VmFlags.MayWrite | VmFlags.Locked), (0x71, VmFlags.None)]);
        Assert.True(bits.TryTell(0x2071, out VmFlags flags));
        Assert.Equal(VmFlags.Locked, flags);
        Assert.False(bits.TryTell(0x4073, out _));
    }
}
