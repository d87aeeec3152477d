using CriuPmem.Images;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Images;

/// <summary>The mark of freed pages tells of all that were ever freed, and of no other.</summary>
public sealed class FreedPagesTests : IDisposable
{
    private const int Pages = 64;
    private const ulong PageBytes = Pagemap.PageBytes;

    private readonly string _path = Path.GetTempFileName();

    public void Dispose() => File.Delete(_path);

    [Fact]
    public void Read_FileWithoutAMark_IsNull()
    {
        using FileStream file = Make();
        Assert.Null(FreedPages.Read(Fd(file), file.Length));
    }

    [Fact]
    public void Note_AgainAndAgain_KeepsAll()
    {
        var random = new Random(4711);
        for (int round = 0; round < 30; round++)
        {
            using FileStream file = Make();
            var gone = new bool[Pages];
            for (int times = 1; times <= 3; times++)
            {
                var freed = new List<(ulong Start, ulong End)>();
                for (int i = random.Next(1, 6); i > 0; i--)
                {
                    int from = random.Next(Pages), to = random.Next(from, Pages) + 1;
                    freed.Add(((ulong)from * PageBytes, (ulong)to * PageBytes));
                    gone.AsSpan(from..to).Fill(true);
                }

                Assert.False(FreedPages.Note(Fd(file), freed, $"later {times}").Failed);
                long length = new FileInfo(_path).Length;
                Assert.True(FreedPages.MayBeIn(length));
                FreedPages mark = FreedPages.Read(Fd(file), length)!;
                Assert.Equal($"later {times}", mark.Later);
                Compare(mark, gone, random);
            }
        }
    }

    /// <summary>A mark that is not all there is none: nothing was freed yet when a crash cut it.</summary>
    [Fact]
    public void Read_CutOrChangedMark_IsNull()
    {
        using FileStream file = Make();
        Assert.False(FreedPages.Note(Fd(file), [(0, 2 * PageBytes)], "later").Failed);
        long length = new FileInfo(_path).Length;
        for (long cut = Pages * (long)PageBytes; cut < length; cut++) Assert.Null(FreedPages.Read(Fd(file), cut));
        file.Position = length - 40;
        file.WriteByte(77);
        file.Flush();
        Assert.Null(FreedPages.Read(Fd(file), length));
    }

    /// <summary>When pages are gone a mark that does not hold must not hide it: they would be restored as zeros.</summary>
    [Fact]
    public void Read_ChangedMark_PagesThatAreGone_AreTold()
    {
        using FileStream file = Make();
        (ulong Start, ulong End)[] freed = [(PageBytes, 3 * PageBytes), (60 * PageBytes, 64 * PageBytes)];
        Assert.False(FreedPages.Note(Fd(file), freed, "later").Failed);
        foreach ((ulong start, ulong end) in freed) Assert.False(ImageFileCalls.PunchHole(Fd(file), (long)start, (long)(end - start)).Failed);
        long length = new FileInfo(_path).Length;
        foreach (long at in (long[])[length - 1, length - 28, length - 60])
        {
            file.Position = at;
            int before = file.ReadByte();
            file.Position = at;
            file.WriteByte((byte)(before ^ 1));
            file.Flush();
            FreedPages mark = FreedPages.Read(Fd(file), length)!;
            Assert.Equal(6 * PageBytes, mark.BytesIn(new SavedRun(0x10000, Pages * PageBytes, PageFlags.Present, 0, 0)));
        }

        Assert.False(FreedPages.Note(Fd(file), [(10 * PageBytes, 11 * PageBytes)], "much later").Failed); // what was known by holes alone stays known
        Assert.Equal(7 * PageBytes, FreedPages.Read(Fd(file), new FileInfo(_path).Length)!.BytesIn(new SavedRun(0x10000, Pages * PageBytes, PageFlags.Present, 0, 0)));
    }

    private static void Compare(FreedPages mark, bool[] gone, Random random)
    {
        for (int i = 0; i < 20; i++)
        {
            int from = random.Next(Pages), count = random.Next(1, Pages - from + 1);
            var run = new SavedRun(0x10000, (ulong)count * PageBytes, PageFlags.Present, 0, (ulong)from * PageBytes);
            Assert.Equal((ulong)gone.AsSpan(from, count).Count(true) * PageBytes, mark.BytesIn(run));
            var kept = new bool[Pages];
            foreach (SavedRun part in mark.Kept(run))
            {
                Assert.Equal(part.Offset - run.Offset, part.Start - run.Start);
                kept.AsSpan((int)(part.Offset / PageBytes), (int)(part.LengthBytes / PageBytes)).Fill(true);
            }

            for (int page = from; page < from + count; page++) Assert.NotEqual(gone[page], kept[page]);
        }
    }

    private FileStream Make()
    {
        File.WriteAllBytes(_path, new byte[Pages * (int)PageBytes]);
        return new FileStream(_path, FileMode.Open, FileAccess.ReadWrite);
    }

    private static int Fd(FileStream file) => (int)file.SafeFileHandle.DangerousGetHandle();
}
