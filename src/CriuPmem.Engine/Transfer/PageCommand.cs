namespace CriuPmem.Engine.Transfer;

/// <summary>What a message between a dump, a page server and a pager asks for (docs/remote-protocol.md).</summary>
internal enum PageCommand : ushort
{
    /// <summary>Pages of an object follow; from engines older than <see cref="Add"/>.</summary>
    AddPresent = 1,

    /// <summary>Pages are in the parent; from engines older than <see cref="Add"/>.</summary>
    AddHole = 2,

    /// <summary>Pages of another object follow from here on; no answer.</summary>
    Open = 3,

    /// <summary>As <see cref="Open"/>; the answer is one byte: 1 when the parent has pages of this object.</summary>
    OpenAndTell = 4,

    /// <summary>Has the parent pages of this object? The answer is a 32-bit number: 1 yes, 0 no.</summary>
    AskParent = 5,

    /// <summary>Pages with the flags of a page map entry; contents follow when they are present.</summary>
    Add = 6,

    /// <summary>Send these pages of a process: the answer is an <see cref="Add"/> with contents.</summary>
    Get = 7,

    /// <summary>All is said. The answer is a 32-bit number, 0 when all is stored; then the connection ends.</summary>
    Close = 0x1023,
}
