using System.Text.RegularExpressions;
using CriuPmem.Engine.Transfer;
using CriuPmem.Images;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Transfer;

/// <summary>Whatever comes over the wire, a page server keeps all of it or nothing, and writes nothing but images of pages.</summary>
public sealed class PageReceiverTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("criu-pmem-receiver.").FullName;
    private readonly int _fd;

    public PageReceiverTests() => _fd = Sys.OpenAt(-100, _directory, 0x10000 | 0x80000).Value;

    [Fact]
    public void Run_SeveralObjects_AreFiles()
    {
        byte[] page = [.. Enumerable.Repeat((byte)'x', 4096)];
        byte[] session =
        [
            .. Message(PageCommand.OpenAndTell, target: 0x102), .. Message(PageCommand.Add, PageFlags.Present, 1, 0x3000, 0x102), .. page,
            .. Message(PageCommand.AskParent, target: 0x4401),
            .. Message(PageCommand.OpenAndTell, target: 0x4401), .. Message(PageCommand.Add, PageFlags.Present | PageFlags.Lazy, 2, 0x7000, 0x4401), .. page, .. page,
            .. Message(PageCommand.Add, PageFlags.Lazy, 1, 0x9000, 0x4401), .. Message(PageCommand.Close),
        ];
        Assert.Null(Receive(session, new Random(1), out byte[] answers));
        Assert.Equal([0, 0, 0, 0, 0, 0, 0, 0, 0, 0], answers);
        Assert.Equal(["pagemap-68.img", "pagemap-shmem-1.img", "pages-65537.img", "pages-65538.img"], Files());
        Assert.Equal(8192, new FileInfo(Path.Combine(_directory, "pages-65538.img")).Length);
        using var map = new SnapshotReader(_fd, _directory).Open(ImageKind.Pagemap, 68);
        Pagemap read = Pagemap.Read(map);
        Assert.Equal([(0x7000UL, 2UL, 6U), (0x9000UL, 1UL, 2U)], read.Entries.Select(entry => (entry.Vaddr, entry.NrPages, entry.Flags)));
    }

    [Fact]
    public void Run_ObjectThatBeginsAgain_HasItsLastContents()
    {
        byte[] session =
        [
            .. Message(PageCommand.Open, target: 0x101), .. Message(PageCommand.Add, PageFlags.Present, 1, 0x3000, 0x101), .. new byte[4096],
            .. Message(PageCommand.Open, target: 0x201), .. Message(PageCommand.Open, target: 0x101), .. Message(PageCommand.Close),
        ];
        Assert.Null(Receive(session, new Random(1), out _));
        Assert.Equal(["pagemap-1.img", "pagemap-2.img", "pages-65538.img", "pages-65539.img"], Files());
    }

    [Fact]
    public void Run_AnyMessages_KeepsAllOrNothing()
    {
        int kept = 0, failed = 0;
        for (int seed = 1; seed <= 1500; seed++)
        {
            var random = new Random(seed);
            byte[] session = Session(random);
            CheckpointException? failure = Receive(session, random, out _);
            string[] files = Files();
            if (failure is null) kept++;
            else failed++;
            Assert.True(failure is null || files.Length == 0, $"seed {seed}: {failure?.Message} left {string.Join(' ', files)}");
            Assert.All(files, file => Assert.Matches(new Regex(@"^(pagemap(-shmem)?-\d+|pages-\d+)\.img$"), file));
            foreach (string file in files) File.Delete(Path.Combine(_directory, file));
        }

        Assert.True(kept > 50 && failed > 50, $"{kept} sessions were taken and {failed} refused: one of them is not shown");
    }

    public void Dispose()
    {
        Sys.Close(_fd);
        Directory.Delete(_directory, recursive: true);
    }

    /// <summary>A session as a dump has it, of which now and then a few bytes are others, or the end is missing.</summary>
    private static byte[] Session(Random random)
    {
        var bytes = new List<byte>();
        for (int objects = random.Next(4); objects > 0; objects--)
        {
            ulong target = (uint)random.Next(1, 4) << 8 | (uint)random.Next(1, 3), at = 0x1000;
            bytes.AddRange(Message(random.Next(3) == 0 ? PageCommand.Open : PageCommand.OpenAndTell, target: target));
            for (int runs = random.Next(5); runs > 0; runs--)
            {
                var flags = (PageFlags)(random.Next(3) == 0 ? 2 : 4 | random.Next(2) * 2);
                ulong pages = (ulong)random.Next(1, 4);
                bytes.AddRange(Message(PageCommand.Add, flags, pages, at, target));
                if ((flags & PageFlags.Present) != 0) bytes.AddRange(new byte[pages * 4096]);
                at += (pages + (ulong)random.Next(3)) * 4096;
            }
        }

        bytes.AddRange(Message(PageCommand.Close));
        byte[] session = [.. bytes];
        if (random.Next(2) == 0) return session;
        for (int flips = random.Next(1, 4); flips > 0; flips--)
        {
            // Where headers are, mostly: the contents mean nothing.
            int place = random.Next(3) == 0 ? random.Next(session.Length) : Math.Min(session.Length - 1, random.Next(64));
            session[place] ^= (byte)(1 << random.Next(8));
        }

        return random.Next(4) == 0 ? session[..random.Next(session.Length)] : session;
    }

    private static byte[] Message(PageCommand command, PageFlags flags = 0, ulong pages = 0, ulong address = 0, ulong target = 0)
    {
        var bytes = new byte[PageMessage.Size];
        new PageMessage(command, flags, pages, address, target).Write(bytes);
        return bytes;
    }

    private CheckpointException? Receive(byte[] session, Random random, out byte[] answers)
    {
        using var channel = new MemoryChannel(session, random);
        try
        {
            using var directory = new ReceivingDirectory(new PageServerOptions { ImagesDirectoryFd = _fd, ImagesDirectory = _directory, Sync = false });
            new PageReceiver(channel, directory).Run();
            return null;
        }
        catch (CheckpointException failure)
        {
            return failure;
        }
        finally
        {
            answers = channel.Output.ToArray();
        }
    }

    private string[] Files() => [.. Directory.EnumerateFileSystemEntries(_directory).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];
}
