namespace CriuPmem.Cli.Options;

/// <summary>Where an option stands in the help.</summary>
internal enum OptionGroup
{
    /// <summary>What is dumped or restored, and where it is kept.</summary>
    Snapshot,

    /// <summary>Dump only.</summary>
    Dump,

    /// <summary>Restore only.</summary>
    Restore,

    /// <summary>Dump and restore: resources of the tree.</summary>
    Resources,

    /// <summary>Memory that goes over the network.</summary>
    Remote,

    /// <summary>Check only.</summary>
    Check,

    /// <summary>Log and statistics.</summary>
    Log,

    /// <summary>Configuration files, help.</summary>
    General,

    /// <summary>Known from CRIU, refused by this version.</summary>
    NotBuilt,
}
