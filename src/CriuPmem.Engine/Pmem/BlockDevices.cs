using System.Globalization;

namespace CriuPmem.Engine.Pmem;

/// <summary>Looks up block devices in sysfs (Documentation/ABI/stable/sysfs-block, testing/sysfs-bus-nvdimm, testing/sysfs-bus-papr-pmem).</summary>
/// <param name="root">Where sysfs is mounted; a test has a tree of its own.</param>
internal sealed class BlockDevices(string root = "/sys")
{
    private const int SectorBytes = 512, MostLevels = 8;

    /// <summary>The device of a file system (st_dev); null when it has none, as a tmpfs.</summary>
    public BlockDevice? Of(ulong device)
    {
        uint major = (uint)(device >> 8 & 0xFFF), minor = (uint)(device & 0xFF | device >> 12 & 0xFFFFFF00);
        string link = string.Create(CultureInfo.InvariantCulture, $"{root}/dev/block/{major}:{minor}");
        return Sys.ReadLink(AT_FDCWD, link, out _) is { } target ? Describe(Path.GetFullPath(target, $"{root}/dev/block"), MostLevels) : null;
    }

    private BlockDevice Describe(string path, int levels)
    {
        // A partition has its queue, and what it lies on, above it.
        string disk = Text($"{path}/partition") is null ? path : Path.GetDirectoryName(path)!;
        string? parent = Sys.ReadLink(AT_FDCWD, $"{disk}/device", out _) is { } target ? Path.GetFullPath(target, disk) : null;
        string? region = Above(parent, "region");
        bool hasDax = Text($"{disk}/queue/dax") == "1";
        return new BlockDevice
        {
            Name = Path.GetFileName(path),
            MappedName = Text($"{path}/dm/name"),
            SizeBytes = long.TryParse(Text($"{path}/size"), NumberStyles.None, CultureInfo.InvariantCulture, out long sectors) ? sectors * SectorBytes : 0,
            HasDax = hasDax,
            Namespace = region is null ? null : Text($"{parent}/namespace") ?? Path.GetFileName(parent),
            Mode = region is null ? null : Path.GetFileName(parent)!.StartsWith("btt", StringComparison.Ordinal) ? "sector" : hasDax ? "fsdax" : "raw",
            PersistenceDomain = region is null ? null : Text($"{region}/persistence_domain"),
            BadRanges = Text($"{disk}/badblocks")?.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length ?? 0,
            MadeOf = levels == 0 ? [] : [.. Names($"{path}/slaves").Select(name => Part(name, levels - 1)).OfType<BlockDevice>()],
        };
    }

    private BlockDevice? Part(string name, int levels) =>
        Sys.ReadLink(AT_FDCWD, $"{root}/class/block/{name}", out _) is { } target ? Describe(Path.GetFullPath(target, $"{root}/class/block"), levels) : null;

    /// <summary>The directory above a path whose name begins so, and ends in a number.</summary>
    private static string? Above(string? path, string begin)
    {
        for (; path is not null; path = Path.GetDirectoryName(path))
        {
            ReadOnlySpan<char> name = Path.GetFileName(path.AsSpan());
            if (name.StartsWith(begin) && name.Length > begin.Length && name[begin.Length..].IndexOfAnyExceptInRange('0', '9') < 0) return path;
        }

        return null;
    }

    private static List<string> Names(string path)
    {
        var names = new List<string>();
        SysResult opened = Sys.OpenAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
        if (opened.Failed) return names;
        using var directory = new OwnedFd(opened.Value);
        Sys.ForEachEntry(directory.Fd, names.Add);
        names.Sort(StringComparer.Ordinal);
        return names;
    }

    private static string? Text(string path)
    {
        var buffer = new byte[4096];
        SysResult read = Sys.ReadFile(AT_FDCWD, path, ref buffer);
        return read.Failed ? null : LinuxText.Decode(buffer.AsSpan(0, read.Value)).Trim();
    }
}
