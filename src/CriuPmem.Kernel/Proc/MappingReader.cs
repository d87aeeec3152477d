using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>Reads the mappings of processes with their flags, in the way that costs least.</summary>
/// <remarks>
/// smaps for small processes; for many, or large ones, maps and a BPF iterator (<see cref="MappingIterator"/>), which costs
/// some milliseconds to begin with. Where there is no BPF, or it tells anything that is not understood: smaps. Thread-safe.
/// </remarks>
internal sealed class MappingReader
{
    private const int FewMappings = 400; // from here on, BPF is worth its beginning

    private readonly Lock _lock = new();
    private readonly List<MappingIterator.Entry> _entries = [];
    private MappingIterator? _iterator;
    private MappingFlagBits? _bits;
    private bool _tried;

    /// <summary>Mappings whose flags BPF told so far.</summary>
    public long ByIterator { get; private set; }

    /// <summary>Reads the mappings of a process that stands still.</summary>
    /// <param name="process">/proc/PID.</param>
    /// <param name="large">Whether reading smaps, of this and others like it, would cost more than beginning with BPF.</param>
    /// <param name="mappings">Where they go, in address order.</param>
    /// <returns>False when they cannot be read, or are not of the known shape.</returns>
    public bool TryRead(ProcDirectory process, bool large, List<MemoryMapping> mappings)
    {
        if (!large && _bits is null)
        {
            if (SmapsParser.TryRead(process, "smaps", mappings, FewMappings)) return true;
            mappings.Clear();
        }

        lock (_lock)
        {
            if (Begin() && SmapsParser.TryRead(process, "maps", mappings) && TryAddFlags(process.Pid, mappings)) return true;
        }

        mappings.Clear();
        return SmapsParser.TryRead(process, "smaps", mappings);
    }

    private bool Begin()
    {
        if (_tried) return _bits is not null;
        _tried = true;
        _iterator = MappingIterator.TryCreate();
        _bits = _iterator is null ? null : FlagSample.TryLearn(_iterator);
        return _bits is not null;
    }

    private bool TryAddFlags(int pid, List<MemoryMapping> mappings)
    {
        _entries.Clear();
        if (!_iterator!.TryRead(pid, _entries)) return false;
        int next = 0;
        foreach (ref MemoryMapping mapping in CollectionsMarshal.AsSpan(mappings))
        {
            if (next == _entries.Count && mapping.Name == "[vsyscall]") break; // it is in no address space
            if (next == _entries.Count) return false;
            MappingIterator.Entry entry = _entries[next++];
            if (entry.Start != mapping.Start || entry.End != mapping.End || !_bits!.TryTell(entry.Flags, out mapping.Flags)) return false;
            mapping.MayShareCopies = entry.MayShareCopies;
        }

        ByIterator += next;
        return next == _entries.Count;
    }
}
