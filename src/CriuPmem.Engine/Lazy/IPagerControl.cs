namespace CriuPmem.Engine.Lazy;

/// <summary>Tells a pager of address spaces while it serves.</summary>
internal interface IPagerControl
{
    /// <summary>A descriptor that can be read when there is something to tell; -1 when nothing more will come.</summary>
    int Fd { get; }

    /// <summary>Pages that nobody waits for may be filled.</summary>
    bool MayStream { get; }

    /// <summary>Takes in what is there to tell.</summary>
    void Read(Pager pager);
}
