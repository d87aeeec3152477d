using CriuPmem.Engine.Dump;

namespace CriuPmem.Engine.Resources;

/// <summary>One pipe or FIFO of a tree, and an open end through which its contents can be had.</summary>
/// <param name="pipeId">Its id in the images.</param>
/// <param name="capacity">Its capacity in bytes.</param>
internal sealed class PipeSource(uint pipeId, int capacity)
{
    private DumpProcess? _process;

    /// <summary>Its id in the images.</summary>
    public uint PipeId => pipeId;

    /// <summary>Its capacity in bytes.</summary>
    public int Capacity => capacity;

    /// <summary>The process that has the end, which reads if any in the tree does.</summary>
    public DumpProcess Process => _process!;

    /// <summary>The end's number there.</summary>
    public int Fd { get; private set; }

    /// <summary>An end to read from is open in the tree.</summary>
    public bool HasReader { get; private set; }

    /// <summary>An end to write to is open in the tree.</summary>
    public bool HasWriter { get; private set; }

    /// <summary>An end that writes is in packet mode: what a read returns is a packet, even a single one.</summary>
    public bool Packets { get; private set; }

    /// <summary>Takes note of an open end.</summary>
    public void Add(OpenFile file)
    {
        uint mode = file.Flags & O_ACCMODE;
        bool better = _process is null || (!HasReader && mode != O_WRONLY);
        HasReader |= mode != O_WRONLY;
        HasWriter |= mode != O_RDONLY;
        Packets |= mode != O_RDONLY && (file.Flags & O_DIRECT) != 0;
        if (!better) return;
        _process = file.Process;
        Fd = file.Fd;
    }
}
