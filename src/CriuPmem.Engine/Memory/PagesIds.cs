namespace CriuPmem.Engine.Memory;

/// <summary>Numbers the pages files of one snapshot, from 1.</summary>
internal sealed class PagesIds
{
    private uint _last;

    /// <summary>The number of the next one.</summary>
    public uint Next() => ++_last;
}
