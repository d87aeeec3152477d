using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Memory;

/// <summary>What became different in a process's memory from one round to the next.</summary>
internal sealed class PageChanges
{
    private readonly List<(ulong Start, ulong End)> _replaced = [];

    /// <summary>Where the rounds before do not count any more, in ascending order.</summary>
    public IReadOnlyList<(ulong Start, ulong End)> Replaced => _replaced;

    /// <summary>The pages that are copied now, in ascending order, each of them within <see cref="Replaced"/>.</summary>
    public List<PageRun> Stored { get; } = [];

    /// <summary>The guard regions, once the process stands still.</summary>
    public List<VmaEntry> Guards { get; } = [];

    /// <summary>Adds to <see cref="Replaced"/>, behind what is there.</summary>
    public void Replace(ulong start, ulong end)
    {
        if (_replaced.Count > 0 && _replaced[^1].End == start) _replaced[^1] = (_replaced[^1].Start, end);
        else _replaced.Add((start, end));
    }

    /// <summary>Adds what was found at higher addresses.</summary>
    public void Append(PageChanges others)
    {
        foreach ((ulong start, ulong end) in others.Replaced) Replace(start, end);
        Stored.AddRange(others.Stored);
        Guards.AddRange(others.Guards);
    }
}
