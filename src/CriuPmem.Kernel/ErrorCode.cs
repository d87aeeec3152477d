namespace CriuPmem.Kernel;

/// <summary>Stable codes of failures (docs/errors.md). A number is never used again for something else.</summary>
public enum ErrorCode
{
    /// <summary>A system call failed in a way that has no explanation of its own.</summary>
    SystemCall = 1000,

    /// <summary>The engine itself is at fault: a broken assumption.</summary>
    Internal = 1001,

    /// <summary>Needs root, or a capability that is missing.</summary>
    NotPermitted = 1002,

    /// <summary>The kernel lacks a feature that is needed.</summary>
    KernelFeature = 1003,

    /// <summary>The time limit (--timeout) was reached.</summary>
    TimedOut = 1004,

    /// <summary>An action script or a notified client said no.</summary>
    ActionRefused = 1005,

    /// <summary>A wrong option or argument.</summary>
    Usage = 1006,

    /// <summary>An option of the peer that is not built yet.</summary>
    OptionNotBuilt = 1007,

    /// <summary>A signal ended the operation.</summary>
    Interrupted = 1008,

    /// <summary>A limit of the user, of a control group or of the machine is reached.</summary>
    LimitReached = 1009,

    /// <summary>No such process.</summary>
    NoSuchProcess = 1100,

    /// <summary>The process is a kernel thread.</summary>
    KernelThread = 1101,

    /// <summary>The process is traced by somebody else.</summary>
    AlreadyTraced = 1102,

    /// <summary>A process cannot be frozen.</summary>
    CannotFreeze = 1103,

    /// <summary>A process vanished while it was saved.</summary>
    Vanished = 1104,

    /// <summary>The session or group lies outside the tree (needs --shell-job).</summary>
    OutsideTree = 1105,

    /// <summary>An open file of a kind, or in a state, that is not supported.</summary>
    UnsupportedFile = 1200,

    /// <summary>A mapping of a kind that is not supported.</summary>
    UnsupportedMemory = 1201,

    /// <summary>Per-process state that is not supported.</summary>
    UnsupportedState = 1202,

    /// <summary>Work in flight did not finish.</summary>
    InFlight = 1203,

    /// <summary>A deleted file is larger than --ghost-limit.</summary>
    GhostTooLarge = 1204,

    /// <summary>A deleted file has other names (needs --link-remap).</summary>
    NeedsLinkRemap = 1205,

    /// <summary>File locks are held (needs --file-locks).</summary>
    NeedsFileLocks = 1206,

    /// <summary>An established connection (needs --tcp-established or --tcp-close).</summary>
    NeedsTcpOption = 1207,

    /// <summary>A connection to outside the tree.</summary>
    ExternalPeer = 1208,

    /// <summary>A namespace of a kind that is not supported.</summary>
    UnsupportedNamespace = 1209,

    /// <summary>The images directory cannot be used.</summary>
    ImagesDirectory = 1300,

    /// <summary>An image is missing.</summary>
    ImageMissing = 1301,

    /// <summary>An image is damaged.</summary>
    ImageDamaged = 1302,

    /// <summary>The images hold something that this version cannot restore.</summary>
    ImageUnsupported = 1303,

    /// <summary>No space is left for the images.</summary>
    NoSpace = 1304,

    /// <summary>Another engine works in the images directory.</summary>
    DirectoryInUse = 1305,

    /// <summary>The stream of a snapshot broke off.</summary>
    StreamBroken = 1306,

    /// <summary>The number of a pid is in use.</summary>
    PidInUse = 1400,

    /// <summary>A file that the snapshot needs is gone.</summary>
    FileMissing = 1401,

    /// <summary>A file that the snapshot needs has changed.</summary>
    FileChanged = 1402,

    /// <summary>A port, name or other unique thing is taken.</summary>
    NameTaken = 1403,

    /// <summary>This CPU lacks what the snapshot needs.</summary>
    CpuMismatch = 1404,

    /// <summary>A restored process died before the end.</summary>
    RestoredDied = 1405,

    /// <summary>No connection to another engine can be made, or nothing can listen.</summary>
    NoConnection = 1500,

    /// <summary>A connection to another engine was cut.</summary>
    ConnectionLost = 1501,

    /// <summary>Another engine sent what cannot be.</summary>
    WrongData = 1502,

    /// <summary>Another engine reports a failure.</summary>
    OtherSideFailed = 1503,

    /// <summary>A connection cannot be secured (--tls).</summary>
    NotSecure = 1504,
}
