namespace CriuPmem.Engine;

/// <summary>How memory is saved while the tree runs (--live-mode).</summary>
public enum LiveMode
{
    /// <summary>By whichever of the two ways stands the tree still for less.</summary>
    Auto,

    /// <summary>Copied again and again while it runs, what it has written meanwhile.</summary>
    Copy,

    /// <summary>From twins that are forked while it stands still.</summary>
    Twins,
}
