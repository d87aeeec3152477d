namespace CriuPmem.Engine;

/// <summary>How to restore.</summary>
public sealed class RestoreOptions : CommonOptions
{
    /// <summary>Return as soon as the tree runs (--restore-detached); otherwise wait for its root task to end.</summary>
    public bool Detached { get; set; }

    /// <summary>The root task becomes a sibling of the engine, a child of its caller (--restore-sibling).</summary>
    public bool Sibling { get; set; }

    /// <summary>Leave the tree stopped (--leave-stopped).</summary>
    public bool LeaveStopped { get; set; }

    /// <summary>Let the tree run before its memory is back: a pager brings what is touched first (--lazy).</summary>
    public bool? Lazy { get; set; }

    /// <summary>Leave memory to a lazy-pages daemon that waits in the work directory (--lazy-pages).</summary>
    public bool LazyPages { get; set; }

    /// <summary>How the pager is started: the arguments of this program (the first is its name) that lead to <see cref="PagerJob.Run"/>; a descriptor's number is added.</summary>
    public IReadOnlyList<string> PagerCommand { get; set; } = [];

    /// <summary>Do not compare the access bits of reopened files (--skip-file-rwx-check).</summary>
    public bool SkipFileRwxCheck { get; set; }

    /// <summary>Descriptors of the engine's own table that take the place of saved ones (--inherit-fd): key → descriptor.</summary>
    public IDictionary<string, int> InheritFd { get; } = new Dictionary<string, int>();
}
