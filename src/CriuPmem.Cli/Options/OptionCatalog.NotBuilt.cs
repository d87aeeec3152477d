namespace CriuPmem.Cli.Options;

/// <content>Options of CRIU 4.2 that this version knows and refuses, so that none is ever dropped silently.</content>
internal static partial class OptionCatalog
{
    private const string Containers = "It comes with containers.";
    private const string Remote = "Write the images to a directory with -D, and copy that.";

    // A property of its own would be initialised before or after Every depending on the order of files: hence a method.
    private static OptionSpec[] NotBuilt =>
    [
        Refused("exec-cmd", "becoming another program after restore", "Use -d, and start the program afterwards."),
        Refused("tcp-established", "keeping established TCP connections", "Use --tcp-close to restore them closed."),
        Refused("skip-in-flight", "skipping half-open TCP connections", Containers),
        Refused("network-lock", "a choice of how the network is locked", Containers, ValueShape.Required),
        Refused("freeze-cgroup", "freezing by cgroup", "Without it the tree is found and frozen by itself.", ValueShape.Required),
        Refused("manage-cgroups", "saving cgroups", Containers, ValueShape.Optional),
        Refused("cgroup-root", "saving cgroups", Containers, ValueShape.Required),
        Refused("cgroup-props", "saving cgroups", Containers, ValueShape.Required),
        Refused("cgroup-props-file", "saving cgroups", Containers, ValueShape.Required),
        Refused("cgroup-dump-controller", "saving cgroups", Containers, ValueShape.Required),
        Refused("cgroup-yard", "saving cgroups", Containers, ValueShape.Required),
        Refused("root", "restoring into another root directory", Containers, ValueShape.Required, 'r'),
        Refused("join-ns", "restoring into existing namespaces", Containers, ValueShape.Required, 'J'),
        Refused("empty-ns", "namespaces without their contents", Containers, ValueShape.Required),
        Refused("veth-pair", "virtual network devices", Containers, ValueShape.Required),
        Refused("weak-sysctls", "skipping sysctls", Containers),
        Refused("mntns-compat-mode", "mount namespaces", Containers),
        Refused("ext-mount-map", "mount namespaces", Containers, ValueShape.Required, 'M'),
        Refused("enable-external-sharing", "mount namespaces", Containers),
        Refused("enable-external-masters", "mount namespaces", Containers),
        Refused("skip-mnt", "mount namespaces", Containers, ValueShape.Required),
        Refused("enable-fs", "mount namespaces", Containers, ValueShape.Required),
        Refused("lsm-profile", "security module profiles", Containers, ValueShape.Required),
        Refused("lsm-mount-context", "security module profiles", Containers, ValueShape.Required),
        Refused("evasive-devices", "taking another path to a device", "Make the device reachable under its own path."),
        Refused("ghost-fiemap", "a choice of how holes of deleted files are found", "Holes are found by themselves."),
        Refused("force-irmap", "searching the file system for watched files", "Without it watched files are found by their handle."),
        Refused("irmap-scan-path", "searching the file system for watched files", "Without it watched files are found by their handle.", ValueShape.Required),
        Refused("allow-uprobes", "programs with uprobes", "Remove the uprobe, and start the program anew."),
        Refused("libdir", "plugins", "There are none to load.", ValueShape.Required, 'L'),
    ];

    private static OptionSpec Refused(
        string name, string help, string instead, ValueShape shape = ValueShape.Flag, char letter = '\0') =>
        shape == ValueShape.Flag
            ? new OptionSpec<bool> { Name = name, Short = letter, Help = help, Instead = instead, Group = OptionGroup.NotBuilt, Convert = Values.Flag }
            : new OptionSpec<string[]>
            {
                Name = name,
                Short = letter,
                Shape = shape,
                ValueName = "ARG",
                Help = help,
                Instead = instead,
                Group = OptionGroup.NotBuilt,
                Repeatable = true,
                Convert = Values.Texts,
                Default = [],
            };
}
