namespace CriuPmem.Engine.Lazy;

/// <summary>Where the pages come from that a pager fills.</summary>
internal interface IPagerSource
{
    /// <summary>Bytes that are filled at a time while nobody waits.</summary>
    ulong StepBytes { get; }

    /// <summary>Bytes around a page that somebody waits for, which are filled with it.</summary>
    ulong FaultBytes { get; }

    /// <summary>Fills pages.</summary>
    /// <param name="space">The address space.</param>
    /// <param name="pages">Which pages.</param>
    /// <param name="stopAtFilled">End at a page that is there already, instead of passing it over.</param>
    /// <param name="done">The bytes that need no more work; perhaps not all, though nothing is in the way.</param>
    /// <returns>False when the address space is changing, and an event has to be read first.</returns>
    bool Fill(PagerSpace space, PagerRun pages, bool stopAtFilled, out ulong done);
}
