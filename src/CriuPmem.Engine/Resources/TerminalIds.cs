namespace CriuPmem.Engine.Resources;

/// <summary>The ids of terminals in the images, as the peer gives them.</summary>
internal static class TerminalIds
{
    /// <summary>/dev/tty: whatever controls the process.</summary>
    public const uint Controlling = 2012;

    /// <summary>The first terminal that is left outside of the snapshot; the next ones follow in steps of two.</summary>
    public const uint FirstExternal = 2026;

    /// <summary>The slave with an index.</summary>
    public static uint Slave(uint index) => index * 2;

    /// <summary>The master with an index.</summary>
    public static uint Master(uint index) => index * 2 + 1;
}
