using System.Runtime.InteropServices;

namespace CriuPmem.Kernel;

/// <summary>Reads the mappings of processes with their flags, in the way that costs least.</summary>
/// <remarks>
/// smaps for small processes; for many, or large ones, maps and a BPF iterator (<see cref="MappingIterator"/>), which costs
/// some milliseconds to begin with. Where there is no BPF, or it tells anything that is not understood: smaps, from which that
/// is learned for the next time. Thread-safe.
/// </remarks>
internal sealed class MappingReader
{
    private const int FewMappings = 400; // from here on, BPF is worth its beginning

    private readonly Lock _lock = new();
    private MappingIterator? _iterator;
    private HashSet<(ulong Word, VmFlags Flags)> _sample = [];
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

        var entries = new List<MappingIterator.Entry>();
        lock (_lock)
        {
            if (Begin() && SmapsParser.TryRead(process, "maps", mappings) && TryAddFlags(process.Pid, mappings, entries)) return true;
        }

        mappings.Clear();
        if (!SmapsParser.TryRead(process, "smaps", mappings)) return false;
        lock (_lock)
        {
            if (entries.Count > 0) Learn(process.Pid, mappings, entries);
        }

        return true;
    }

    /// <summary>Begins with BPF, so that the first process that needs it does not wait for that while it stands still.</summary>
    public void Prepare()
    {
        lock (_lock) Begin();
    }

    private bool Begin()
    {
        if (_tried) return _bits is not null;
        _tried = true;
        _iterator = MappingIterator.TryCreate();
        if (_iterator is null || FlagSample.TryTake(_iterator) is not { } sample) return false;
        _sample = [.. sample];
        var bits = new MappingFlagBits([.. _sample]);
        _bits = bits.IsConsistent ? bits : null;
        return _bits is not null;
    }

    // Of mappings that were the same before and after smaps told of them: this process may run.
    private void Learn(int pid, List<MemoryMapping> told, List<MappingIterator.Entry> entries)
    {
        var after = new List<MappingIterator.Entry>(entries.Count);
        if (!_iterator!.TryRead(pid, after)) return;
        HashSet<(ulong Start, ulong End, ulong Flags)> before = [.. entries.Select(static entry => (entry.Start, entry.End, entry.Flags))];
        after.RemoveAll(entry => !before.Contains((entry.Start, entry.End, entry.Flags)));
        HashSet<(ulong Word, VmFlags Flags)> sample = [.. _sample, .. FlagSample.Pair(told, after)];
        if (sample.Count == _sample.Count) return;
        var bits = new MappingFlagBits([.. sample]);
        if (bits.IsConsistent) (_sample, _bits) = (sample, bits);
    }

    private bool TryAddFlags(int pid, List<MemoryMapping> mappings, List<MappingIterator.Entry> entries)
    {
        if (!_iterator!.TryRead(pid, entries)) return false;
        int next = 0;
        foreach (ref MemoryMapping mapping in CollectionsMarshal.AsSpan(mappings))
        {
            if (next == entries.Count && mapping.Name == "[vsyscall]") break; // it is in no address space
            if (next == entries.Count) return false;
            MappingIterator.Entry entry = entries[next++];
            if (entry.Start != mapping.Start || entry.End != mapping.End || !_bits!.TryTell(entry.Flags, out mapping.Flags)) return false;
            mapping.MayShareCopies = entry.MayShareCopies;
        }

        ByIterator += next;
        return next == entries.Count;
    }
}
