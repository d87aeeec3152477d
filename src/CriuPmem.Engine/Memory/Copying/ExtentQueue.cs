using System.Runtime.InteropServices;

namespace CriuPmem.Engine.Memory;

/// <summary>The extents (2 MiB) of a pages file, shared out between a process that copies from the front and the engine that copies from the back.</summary>
/// <remarks>
/// <code>
/// | copied by the process | ready for it | being made ready |    nobody's yet    | copied by the engine |
///                         front          ready         prepared                 back
/// </code>
/// </remarks>
internal sealed class ExtentQueue
{
    private const int ReadyAhead = 32;

    private readonly List<CopyPiece> _pieces;
    private readonly List<(int First, int End, bool Whole)> _extents = [];
    private readonly Lock _lock = new();
    private int _front, _ready, _prepared, _back;

    /// <summary>Makes one of a job's pieces, which lie one behind the other.</summary>
    /// <param name="pieces">The pieces.</param>
    /// <param name="endBytes">Where the file ends.</param>
    public ExtentQueue(List<CopyPiece> pieces, long endBytes)
    {
        _pieces = pieces;
        for (int at = 0; at < pieces.Count;)
        {
            long extent = pieces[at].FileOffset / ExtentWindow.Bytes;
            bool whole = pieces[at].FileOffset % ExtentWindow.Bytes == 0 && (extent + 1) * ExtentWindow.Bytes <= endBytes;
            int end = at;
            for (; end < pieces.Count && pieces[end].FileOffset / ExtentWindow.Bytes == extent; end++) whole &= !pieces[end].Carefully;
            _extents.Add((at, end, whole));
            at = end;
        }

        _back = _extents.Count;
    }

    /// <summary>Takes the next extent to be made ready; false when enough are, or none is left.</summary>
    /// <param name="pieces">Its pieces.</param>
    /// <param name="whole">The process can copy all of it.</param>
    public bool TryPrepare(out ReadOnlySpan<CopyPiece> pieces, out bool whole)
    {
        lock (_lock)
        {
            pieces = [];
            whole = false;
            if (_prepared == _back || _prepared - _front >= ReadyAhead) return false;
            pieces = Pieces(_prepared);
            whole = _extents[_prepared++].Whole;
            return true;
        }
    }

    /// <summary>The extent of the last <see cref="TryPrepare"/> is ready, or was copied already.</summary>
    public void Prepared(bool copied)
    {
        lock (_lock)
        {
            if (copied) _extents[_ready] = (0, 0, false);
            _ready++;
        }
    }

    /// <summary>Takes the last extent that nobody has taken; empty when there is none.</summary>
    public ReadOnlySpan<CopyPiece> TakeLast()
    {
        lock (_lock) return _back == _prepared ? [] : Pieces(--_back);
    }

    /// <summary>Takes extents that are ready, one behind the other in the file; empty when none is.</summary>
    /// <param name="maxExtents">So many at most.</param>
    /// <param name="maxPieces">So many pieces at most.</param>
    /// <param name="isDone">Nothing will be ready any more.</param>
    public ReadOnlySpan<CopyPiece> TakeReady(int maxExtents, int maxPieces, out bool isDone)
    {
        lock (_lock)
        {
            while (_front < _ready && _extents[_front].End == 0) _front++; // copied already
            isDone = _front == _back;
            int first = _front, count = 0;
            for (; _front < _ready && _front - first < maxExtents && _extents[_front] is { End: > 0 } extent; _front++)
            {
                if (count + extent.End - extent.First > maxPieces) break;
                count += extent.End - extent.First;
            }

            return count == 0 ? [] : CollectionsMarshal.AsSpan(_pieces).Slice(_extents[first].First, count);
        }
    }

    private ReadOnlySpan<CopyPiece> Pieces(int extent) => CollectionsMarshal.AsSpan(_pieces)[_extents[extent].First.._extents[extent].End];
}
