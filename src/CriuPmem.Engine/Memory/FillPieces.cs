using System.Diagnostics.CodeAnalysis;
using CriuPmem.Images;

namespace CriuPmem.Engine.Memory;

/// <summary>Pages that lie together in a file, and where in the process they go: read by one call.</summary>
/// <param name="File">Which of the pages files.</param>
/// <param name="From">Where in it they begin.</param>
internal sealed record FillPiece(int File, ulong From)
{
    /// <summary>Address and length of each stretch in the process, in turn.</summary>
    public List<ulong> Vectors { get; } = [];

    /// <summary>Their sum, in bytes.</summary>
    public ulong LengthBytes { get; private set; }

    /// <summary>Adds a stretch.</summary>
    public void Add(ulong start, ulong lengthBytes)
    {
        Vectors.Add(start);
        Vectors.Add(lengthBytes);
        LengthBytes += lengthBytes;
    }
}

/// <summary>The pages that a process is filled with, in pieces: taken from the start by one, from the end by another.</summary>
internal sealed class FillPieces
{
    /// <summary>Stretches that one piece can have.</summary>
    public const int MostVectors = 512;

    private const ulong HugePageBytes = 2 << 20, MostBytes = 32 << 20;

    private readonly List<FillPiece> _pieces = [];
    private readonly Lock _lock = new();
    private int _first, _end;

    /// <summary>Cuts runs, which ascend, into pieces.</summary>
    public FillPieces(IEnumerable<SavedRun> runs)
    {
        foreach (SavedRun run in runs)
        {
            for (ulong done = 0; done < run.LengthBytes;)
            {
                FillPiece piece = PieceFor(run, run.Offset + done);
                ulong part = Math.Min(run.LengthBytes - done, MostBytes - piece.LengthBytes);
                ulong whole = ((run.Start + done + part) & ~(HugePageBytes - 1)) - (run.Start + done); // no huge page is cut in two
                if (done + part < run.LengthBytes && whole <= part && whole > 0) part = whole;
                piece.Add(run.Start + done, part);
                LengthBytes += part;
                done += part;
            }
        }

        _end = _pieces.Count;
    }

    /// <summary>The sum of all, in bytes.</summary>
    public ulong LengthBytes { get; }

    /// <summary>Takes the first that is left.</summary>
    public bool TryTakeFirst([NotNullWhen(true)] out FillPiece? piece)
    {
        lock (_lock) piece = _first < _end ? _pieces[_first++] : null;
        return piece is not null;
    }

    /// <summary>Takes the last that is left.</summary>
    public bool TryTakeLast([NotNullWhen(true)] out FillPiece? piece)
    {
        lock (_lock) piece = _first < _end ? _pieces[--_end] : null;
        return piece is not null;
    }

    /// <summary>Looks for a piece that will be taken soon; false when all are taken.</summary>
    /// <param name="most">How many from either end count as soon.</param>
    /// <param name="front">Before which the caller has seen all; 0 at first.</param>
    /// <param name="back">Behind which the caller has seen all; a large number at first.</param>
    /// <param name="piece">The piece; null when there is none at the moment.</param>
    public bool TryLookAhead(int most, ref int front, ref int back, out FillPiece? piece)
    {
        lock (_lock)
        {
            front = Math.Max(front, _first);
            back = Math.Min(back, _end);
            piece = front < back && front < _first + most ? _pieces[front++]
                : front < back && back > _end - most ? _pieces[--back]
                : null;
            return _first < _end;
        }
    }

    /// <summary>Leaves nothing to be taken.</summary>
    public void Drop()
    {
        lock (_lock) _end = _first;
    }

    private FillPiece PieceFor(SavedRun run, ulong offset)
    {
        if (_pieces.Count > 0 && _pieces[^1] is var last && last.File == run.File && last.From + last.LengthBytes == offset &&
            last.LengthBytes + HugePageBytes <= MostBytes && last.Vectors.Count < MostVectors * 2)
        {
            return last;
        }

        _pieces.Add(new FillPiece(run.File, offset));
        return _pieces[^1];
    }
}
