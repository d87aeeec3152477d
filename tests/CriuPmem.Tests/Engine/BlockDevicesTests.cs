using CriuPmem.Engine;
using CriuPmem.Engine.Pmem;

namespace CriuPmem.Tests.Engine;

/// <summary>Devices in trees like those that sysfs has (taken down on a guest with two NVDIMMs under LVM).</summary>
public sealed class BlockDevicesTests : IDisposable
{
    private readonly DirectoryInfo _sys = Directory.CreateTempSubdirectory("criu-pmem-tests.sys.");

    public void Dispose() => _sys.Delete(recursive: true);

    [Fact]
    public void LogicalVolume_OverTwoNvdimms_IsTakenApart()
    {
        Nvdimm("region0/pfn0.1/block/pmem0", "259:0", badblocks: "0 8\n64 16\n", ("region0/pfn0.1/namespace", "namespace0.0"), ("region0/persistence_domain", "memory_controller"));
        Nvdimm("region1/namespace1.0/block/pmem1", "259:1", badblocks: "", ("region1/persistence_domain", "cpu_cache"));
        File("devices/virtual/block/dm-0/size", "4194304");
        File("devices/virtual/block/dm-0/queue/dax", "1");
        File("devices/virtual/block/dm-0/dm/name", "vg-snapshots");
        Link("dev/block/254:0", "../../devices/virtual/block/dm-0");
        Link("devices/virtual/block/dm-0/slaves/pmem0", "../../pmem0");
        Link("devices/virtual/block/dm-0/slaves/pmem1", "../../pmem1");
        BlockDevice volume = new BlockDevices(_sys.FullName).Of(254 << 8)!;
        Assert.Equal(("dm-0", "vg-snapshots", 2L << 30, true, null), (volume.Name, volume.MappedName, volume.SizeBytes, volume.HasDax, volume.Namespace));
        Assert.True(volume.IsPersistentMemory);
        Assert.Equal(["pmem0", "pmem1"], volume.MadeOf.Select(static part => part.Name));
        Assert.Equal(("namespace0.0", "fsdax", "memory_controller", 2), (volume.MadeOf[0].Namespace, volume.MadeOf[0].Mode, volume.MadeOf[0].PersistenceDomain, volume.MadeOf[0].BadRanges));
        Assert.Equal(("namespace1.0", "fsdax", "cpu_cache", 0), (volume.MadeOf[1].Namespace, volume.MadeOf[1].Mode, volume.MadeOf[1].PersistenceDomain, volume.MadeOf[1].BadRanges));
    }

    [Fact]
    public void Partition_HasTheQueueOfItsDisk_AndIsNoPersistentMemory()
    {
        File("devices/pci0/virtio0/block/vda/queue/dax", "0");
        File("devices/pci0/virtio0/block/vda/vda1/partition", "1");
        File("devices/pci0/virtio0/block/vda/vda1/size", "2048");
        Link("devices/pci0/virtio0/block/vda/device", "../../../virtio0");
        Link("dev/block/254:1", "../../devices/pci0/virtio0/block/vda/vda1");
        BlockDevice partition = new BlockDevices(_sys.FullName).Of(254 << 8 | 1)!;
        Assert.Equal(("vda1", 1L << 20, false, null, null), (partition.Name, partition.SizeBytes, partition.HasDax, partition.Namespace, partition.Mode));
        Assert.False(partition.IsPersistentMemory);
        Assert.Empty(partition.MadeOf);
    }

    [Fact]
    public void FileSystemWithoutDevice_HasNone() => Assert.Null(new BlockDevices(_sys.FullName).Of(25));

    private void Nvdimm(string path, string number, string badblocks, params (string Path, string Text)[] files)
    {
        const string root = "devices/LNXSYSTM:00/ndbus0";
        File($"{root}/{path}/size", "2097152");
        File($"{root}/{path}/queue/dax", "1");
        File($"{root}/{path}/badblocks", badblocks);
        Link($"{root}/{path}/device", "../../../" + Path.GetFileName(Path.GetDirectoryName(Path.GetDirectoryName(path)))!);
        Link($"class/block/{Path.GetFileName(path)}", $"../../{root}/{path}");
        Link($"dev/block/{number}", $"../../{root}/{path}");
        foreach ((string name, string text) in files) File($"{root}/{name}", text);
    }

    private void File(string path, string text)
    {
        string full = Path.Combine(_sys.FullName, path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        System.IO.File.WriteAllText(full, text + "\n");
    }

    private void Link(string path, string target)
    {
        string full = Path.Combine(_sys.FullName, path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        System.IO.File.CreateSymbolicLink(full, target);
    }
}
