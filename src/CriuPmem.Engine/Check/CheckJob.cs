using CriuPmem.Engine.Check.Probes;

namespace CriuPmem.Engine.Check;

/// <summary>A check: does this kernel have what dump and restore need?</summary>
public static class CheckJob
{
    /// <summary>Features of the peer's list that this version has no use for yet, so that a question for one is understood.</summary>
    public static IReadOnlyList<string> NotUsedYet { get; } =
    [
        "tun", "tun_ns", "cgroupns", "autofs", "tcp_half_closed", "compat_cr", "nsid", "link_nsid", "external_net_ns", "newifindex",
        "nftables", "has_ipt_legacy", "apparmor_stacking", "network_lock_nftables", "move_mount_set_group", "overlayfs_maps", "breakpoints",
    ];

    /// <summary>All features, without trying any: their <see cref="FeatureResult.Missing"/> is null.</summary>
    public static IReadOnlyList<FeatureResult> List() =>
        [.. FeatureRegistry.All.Select(static probe => new FeatureResult(probe.Name, probe.Purpose, probe.Category, null))];

    /// <summary>Tries the needed features, and those of the categories asked for.</summary>
    public static IReadOnlyList<FeatureResult> Run(CheckOptions options) =>
    [
        .. FeatureRegistry.All
            .Where(probe => probe.Category switch
            {
                FeatureCategory.Needed => true,
                FeatureCategory.Extra => options.Extra,
                _ => options.Experimental,
            })
            // Not a feature of the kernel alone: asked for by naming a directory.
            .Where(probe => probe is not Dax || options.ImagesDirectoryFd >= 0)
            .Select(probe => probe.Run(options)),
    ];

    /// <summary>Tries one feature.</summary>
    /// <exception cref="CheckpointException">There is no feature of this name, or this version has no use for it.</exception>
    public static FeatureResult RunOne(string name, CheckOptions options)
    {
        FeatureProbe? probe = FeatureRegistry.All.FirstOrDefault(probe => probe.Name == name || probe.OtherName == name);
        if (probe is not null) return probe.Run(options);
        bool known = NotUsedYet.Contains(name);
        throw new CheckpointException(
            known ? ErrorCode.OptionNotBuilt : ErrorCode.Usage,
            known ? "this version has no use for this feature yet, and cannot check it" : "no such feature")
        {
            Operation = "check",
            Object = "--feature " + name,
            Remedy = "criu-pmem check --feature list prints all names.",
        };
    }
}
