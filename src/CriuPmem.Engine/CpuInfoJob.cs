using CriuPmem.Engine.Resources;
using CriuPmem.Images;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine;

/// <summary>CPU features alone, without a tree: written on one machine, compared on another (cpuinfo dump, cpuinfo check).</summary>
public static class CpuInfoJob
{
    /// <summary>Writes cpuinfo.img; a snapshot in the same directory stays one.</summary>
    public static void Dump(CpuInfoOptions options) =>
        new SnapshotWriter(options.ImagesDirectoryFd, options.ImagesDirectory).WriteSingle(ImageKind.Cpuinfo, 0, CpuInfo.Read());

    /// <summary>Compares this CPU with the one in cpuinfo.img.</summary>
    /// <exception cref="CheckpointException">It lacks something; the message names it.</exception>
    public static void Check(CpuInfoOptions options)
    {
        var reader = new SnapshotReader(options.ImagesDirectoryFd, options.ImagesDirectory);
        CpuInfo.Check(reader.ReadSingle<CpuinfoEntry>(ImageKind.Cpuinfo), options);
    }
}
