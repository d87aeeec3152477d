using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using CriuPmem.Kernel;

namespace CriuPmem.Images;

/// <summary>The mark behind the pages of a pages file that some of them were freed for a later snapshot (dedup, --auto-dedup).</summary>
/// <remarks>
/// <code>
///  pages   [u64 place, u64 bytes] × n   name of the later snapshot, zeros   footer
///
///  footer   0 u32 common magic   4 u32 0x44455246   8 u32 n   12 u32 bytes of the name   16 u64 bytes of the mark   24 u64 XXH3 of the mark up to here
/// </code>
/// It is on the medium before the first page goes, and holds what earlier marks held. A file with a mark is never a whole number
/// of pages long: so nothing has to be read of one without. It goes where the file goes, and ends with it; readers that do not know it
/// never get there. A mark that a crash cut off says nothing: no page was freed yet. One that was damaged later would not say either that
/// pages are zeros which are none: so where there should be a mark, and is none that holds, what is a hole counts as freed.
/// </remarks>
internal sealed class FreedPages
{
    private const uint Magic = 0x44455246;
    private const int FooterBytes = 32, RangeBytes = 16, MaxNameBytes = 4096;

    private readonly List<(ulong Start, ulong End)> _ranges;
    private readonly long _markBytes;

    private FreedPages(List<(ulong Start, ulong End)> ranges, string later, long markBytes)
    {
        _ranges = ranges;
        _markBytes = markBytes;
        Later = later;
    }

    /// <summary>The snapshot for which pages were freed last, as it was called then.</summary>
    public string Later { get; }

    /// <summary>False when a file of this length has no mark.</summary>
    public static bool MayBeIn(long lengthBytes) => lengthBytes > 0 && lengthBytes % (long)Pagemap.PageBytes != 0;

    /// <summary>Reads the mark of a pages file; null when no page of it was freed.</summary>
    public static FreedPages? Read(int fd, long lengthBytes) => MayBeIn(lengthBytes) ? ReadMark(fd, lengthBytes) ?? FromHoles(fd, lengthBytes) : null;

    private static FreedPages? FromHoles(int fd, long lengthBytes)
    {
        var holes = new List<(ulong Start, ulong End)>();
        long pagesEnd = lengthBytes - lengthBytes % (long)Pagemap.PageBytes;
        for (long at = 0; at < pagesEnd;)
        {
            SysResult hole = Sys.Seek(fd, at, Constants.SEEK_HOLE);
            if (hole.Failed || hole.Raw >= pagesEnd) break;
            SysResult data = Sys.Seek(fd, hole.Raw, Constants.SEEK_DATA); // ENXIO: up to the end
            at = data.Failed ? pagesEnd : Math.Min(data.Raw, pagesEnd);
            holes.Add(((ulong)hole.Raw, (ulong)at));
        }

        return holes.Count == 0 ? null : new FreedPages(holes, "the note of its name is damaged", 0);
    }

    private static FreedPages? ReadMark(int fd, long lengthBytes)
    {
        Span<byte> footer = stackalloc byte[FooterBytes];
        if (lengthBytes < FooterBytes || ImageFileCalls.ReadAt(fd, footer, lengthBytes - FooterBytes).Raw != FooterBytes) return null;
        if (BinaryPrimitives.ReadUInt32LittleEndian(footer) != ImageKind.CommonMagic || BinaryPrimitives.ReadUInt32LittleEndian(footer[4..]) != Magic) return null;
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(footer[8..]), nameBytes = BinaryPrimitives.ReadUInt32LittleEndian(footer[12..]);
        long markBytes = BinaryPrimitives.ReadInt64LittleEndian(footer[16..]);
        if (markBytes > Math.Min(lengthBytes, int.MaxValue) || nameBytes > MaxNameBytes || markBytes < (long)count * RangeBytes + nameBytes + FooterBytes) return null;
        var mark = new byte[markBytes];
        if (ImageFileCalls.ReadAt(fd, mark, lengthBytes - markBytes).Raw != markBytes) return null;
        if (XxHash3.HashToUInt64(mark.AsSpan(..^8)) != BinaryPrimitives.ReadUInt64LittleEndian(footer[24..])) return null;
        var ranges = new List<(ulong Start, ulong End)>((int)count);
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(mark.AsSpan(0, (int)count * RangeBytes));
        for (int i = 0; i < words.Length; i += 2) ranges.Add((words[i], words[i] + words[i + 1]));
        return new FreedPages(ranges, LinuxText.Decode(mark.AsSpan((int)count * RangeBytes, (int)nameBytes)), markBytes);
    }

    /// <summary>Notes, durably, that pages are about to be freed; what was noted before stays so.</summary>
    /// <param name="fd">The pages file, to be read and written.</param>
    /// <param name="freed">Places in it.</param>
    /// <param name="later">The snapshot that has them anew.</param>
    public static SysResult Note(int fd, IEnumerable<(ulong Start, ulong End)> freed, string later)
    {
        SysResult length = ImageFileCalls.RegularFileLength(fd);
        if (length.Failed) return length;
        FreedPages? before = Read(fd, length.Raw);
        byte[] mark = Encode(Merge([.. before?._ranges ?? [], .. freed]), later, length.Raw);
        SysResult written = ImageFileCalls.WriteAt(fd, mark, length.Raw);
        if (!written.Failed) written = ImageFileCalls.Fsync(fd);
        if (written.Failed)
        {
            Sys.Truncate(fd, length.Raw); // back to what it was
            return written;
        }

        if (before is { _markBytes: > 0 }) ImageFileCalls.PunchHole(fd, length.Raw - before._markBytes, before._markBytes);
        return written;
    }

    /// <summary>The bytes of a run that are gone.</summary>
    public ulong BytesIn(SavedRun run) => In(run).Aggregate(0UL, static (sum, gone) => sum + (gone.End - gone.Start));

    /// <summary>What is left of a run.</summary>
    public IEnumerable<SavedRun> Kept(SavedRun run)
    {
        ulong at = run.Offset;
        foreach ((ulong start, ulong end) in In(run).Append((run.Offset + run.LengthBytes, 0UL)))
        {
            if (start > at) yield return run with { Start = run.Start + (at - run.Offset), LengthBytes = start - at, Offset = at };
            at = end;
        }
    }

    private IEnumerable<(ulong Start, ulong End)> In(SavedRun run)
    {
        ulong behind = run.Offset + run.LengthBytes;
        int at = _ranges.BinarySearch((run.Offset, ulong.MaxValue));
        at = Math.Max(0, (at < 0 ? ~at : at) - 1); // the one that begins at or before it may reach into it
        for (; at < _ranges.Count && _ranges[at].Start < behind; at++)
        {
            (ulong start, ulong end) = _ranges[at];
            if (end > run.Offset) yield return (Math.Max(start, run.Offset), Math.Min(end, behind));
        }
    }

    private static List<(ulong Start, ulong End)> Merge(List<(ulong Start, ulong End)> ranges)
    {
        ranges.Sort();
        var merged = new List<(ulong Start, ulong End)>(ranges.Count);
        foreach ((ulong start, ulong end) in ranges)
        {
            if (merged.Count > 0 && merged[^1].End >= start) merged[^1] = (merged[^1].Start, Math.Max(merged[^1].End, end));
            else merged.Add((start, end));
        }

        return merged;
    }

    private static byte[] Encode(List<(ulong Start, ulong End)> ranges, string later, long at)
    {
        byte[] name = LinuxText.Encode(later);
        if (name.Length > MaxNameBytes) name = [];
        int bytes = (ranges.Count * RangeBytes + name.Length + FooterBytes + 7) & ~7;
        while (!MayBeIn(at + bytes)) bytes += 8;
        var mark = new byte[bytes];
        for (int i = 0; i < ranges.Count; i++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(mark.AsSpan(i * RangeBytes), ranges[i].Start);
            BinaryPrimitives.WriteUInt64LittleEndian(mark.AsSpan(i * RangeBytes + 8), ranges[i].End - ranges[i].Start);
        }

        name.CopyTo(mark.AsSpan(ranges.Count * RangeBytes));
        Span<byte> footer = mark.AsSpan(^FooterBytes..);
        BinaryPrimitives.WriteUInt32LittleEndian(footer, ImageKind.CommonMagic);
        BinaryPrimitives.WriteUInt32LittleEndian(footer[4..], Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(footer[8..], (uint)ranges.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(footer[12..], (uint)name.Length);
        BinaryPrimitives.WriteInt64LittleEndian(footer[16..], bytes);
        BinaryPrimitives.WriteUInt64LittleEndian(footer[24..], XxHash3.HashToUInt64(mark.AsSpan(..^8)));
        return mark;
    }
}
