namespace CriuPmem.Engine;

/// <summary>What becomes of the tree after a dump.</summary>
public enum FinalState
{
    /// <summary>It is killed.</summary>
    Killed,

    /// <summary>It stays stopped (--leave-stopped).</summary>
    Stopped,

    /// <summary>It runs on (--leave-running).</summary>
    Running,
}
