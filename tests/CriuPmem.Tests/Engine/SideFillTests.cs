using System.Runtime.InteropServices;
using CriuPmem.Engine.Memory;
using CriuPmem.Engine.Restore;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Kernel;
using Google.Protobuf;

namespace CriuPmem.Tests.Engine;

/// <summary>Filling memory from the end, here the test's own.</summary>
public sealed unsafe class SideFillTests : IDisposable
{
    private const int MiB = 1 << 20;

    private readonly string _directory = Directory.CreateTempSubdirectory("criu-pmem-fill.").FullName;
    private readonly int _fd;

    public SideFillTests() => _fd = Sys.OpenAt(-100, _directory, 0x10000 | 0x80000).Value;

    [Fact]
    public void SideFill_WholeFile_BringsEverythingBack()
    {
        byte[] contents = Contents(40 * MiB);
        byte* memory = (byte*)NativeMemory.AlignedAlloc(40 * MiB, 2 * MiB);
        var pieces = new FillPieces([Run((ulong)memory, 40 * MiB, 0)]);
        Fill(pieces, (_, _) => default);
        Assert.True(new ReadOnlySpan<byte>(memory, contents.Length).SequenceEqual(contents));
        Assert.False(pieces.TryTakeFirst(out _));
        NativeMemory.AlignedFree(memory);
    }

    /// <summary>The file loses its end after it was mapped: an error that names it, and no signal.</summary>
    [Fact]
    public void SideFill_FileCutMeanwhile_NamesTheFile()
    {
        Contents(40 * MiB);
        byte* memory = (byte*)NativeMemory.AlignedAlloc(40 * MiB, 2 * MiB);
        var pieces = new FillPieces([Run((ulong)memory, 40 * MiB, 0)]);
        CheckpointException failure = Assert.Throws<CheckpointException>(() => Fill(pieces, (_, _) =>
        {
            using FileStream file = File.OpenWrite(Path.Combine(_directory, "pages-1.img"));
            file.SetLength(20 * MiB);
            return default;
        }));
        Assert.Equal(ErrorCode.ImageDamaged, failure.Code);
        Assert.Contains("pages-1.img", failure.Object, StringComparison.Ordinal);
        Assert.False(pieces.TryTakeFirst(out _), "who fills from the other end would go on");
        NativeMemory.AlignedFree(memory);
    }

    /// <summary>Memory that is not there is told with the process.</summary>
    [Fact]
    public void SideFill_NoSuchMemory_NamesTheProcess()
    {
        Contents(MiB);
        CheckpointException failure = Assert.Throws<CheckpointException>(() => Fill(new FillPieces([Run(1 << 16, MiB, 0)]), (_, _) => default));
        Assert.Equal(ErrorCode.SystemCall, failure.Code);
        Assert.Equal("filled", failure.ProcessName);
    }

    [Fact]
    public void FillPieces_AnyRuns_CoverThemInOrder()
    {
        var random = new Random(7);
        var runs = new List<SavedRun>();
        ulong address = 1UL << 32, offset = 0;
        for (int i = 0; i < 3000; i++)
        {
            address += (ulong)random.Next(3) * 4096;
            ulong bytes = (random.Next(100) == 0 ? (ulong)random.Next(1, 40_000) : (ulong)random.Next(1, 4)) * 4096;
            if (random.Next(50) == 0) offset += 4096;
            runs.Add(Run(address, bytes, offset));
            address += bytes;
            offset += bytes;
        }

        var pieces = new FillPieces(runs);
        Assert.Equal(runs.Aggregate(0UL, (sum, run) => sum + run.LengthBytes), pieces.LengthBytes);
        var pages = new Queue<(ulong Address, ulong Offset)>(
            runs.SelectMany(run => Enumerable.Range(0, (int)(run.LengthBytes / 4096)).Select(page => (run.Start + (ulong)page * 4096, run.Offset + (ulong)page * 4096))));
        while (pieces.TryTakeFirst(out FillPiece? piece))
        {
            Assert.InRange(piece.LengthBytes, 1UL, 32UL << 20);
            Assert.InRange(piece.Vectors.Count, 2, FillPieces.MostVectors * 2);
            ulong at = piece.From;
            for (int i = 0; i < piece.Vectors.Count; i += 2)
            {
                for (ulong done = 0; done < piece.Vectors[i + 1]; done += 4096, at += 4096) Assert.Equal(pages.Dequeue(), (piece.Vectors[i] + done, at));
            }
        }

        Assert.Empty(pages);
    }

    /// <inheritdoc />
    public void Dispose()
    {
        Sys.Close(_fd);
        Directory.Delete(_directory, recursive: true);
    }

    private static SavedRun Run(ulong start, ulong bytes, ulong offset) => new(start, bytes, PageFlags.Present, 0, offset);

    private byte[] Contents(int bytes)
    {
        var contents = new byte[bytes];
        new Random(3).NextBytes(contents);
        File.WriteAllBytes(Path.Combine(_directory, "pages-1.img"), contents);
        return contents;
    }

    private void Fill(FillPieces pieces, Func<ulong, ulong, (ulong, ulong)> huge)
    {
        var core = new CoreEntry { Tc = new TaskCoreEntry { Comm = ByteString.CopyFromUtf8("filled") } };
        var process = new RestoreProcess(null!, new PstreeEntry { Pid = (uint)Sys.GetPid() }, core);
        var pages = new SavedPages([new PagesSource(new SnapshotReader(_fd, _directory), 1)], []);
        using var side = new SideFill(process, pages, pieces, huge);
        side.Finish();
    }
}
