using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Kernel;
using FsCheck;
using FsCheck.Fluent;

namespace CriuPmem.Tests.Images;

public sealed class SnapshotWriterTests
{
    [Fact]
    public void WriteSingle_Entry_HasMagicSizeAndMode()
    {
        using var images = new ImagesDirectory();
        images.Writer.WriteSingle(ImageKind.Fs, 7, new FsEntry { CwdId = 1, RootId = 2, Umask = 18 });
        byte[] bytes = File.ReadAllBytes(images["fs-7.img"]);
        Assert.Equal("194356541239405106000000080110021812", Convert.ToHexString(bytes));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(images["fs-7.img"]));
    }

    [Fact]
    public void Add_ManyLargeEntries_ReadBackEqual()
    {
        using var images = new ImagesDirectory();
        using (ImageWriter writer = images.Writer.Create(ImageKind.PipesData))
        {
            for (uint i = 0; i < 40; i++)
            {
                byte[] raw = new byte[i * 77_777];
                Array.Fill(raw, (byte)i);
                writer.Add(new PipeDataEntry { PipeId = i, Bytes = (uint)raw.Length }, raw);
            }
        }

        using ImageReader reader = images.Reader.Open(ImageKind.PipesData);
        for (uint i = 0; i < 40; i++)
        {
            Assert.True(reader.TryRead(PipeDataEntry.Parser, out PipeDataEntry? entry));
            Assert.Equal(i, entry.PipeId);
            if (i % 3 == 0) reader.SkipRaw(entry.Bytes);
            else Assert.Equal(-1, reader.ReadRaw(entry.Bytes).IndexOfAnyExcept((byte)i));
        }

        Assert.Equal(0, reader.RemainingBytes);
    }

    [Fact]
    public void RoundTrip_AnyPipeData_ComesBack() =>
        Prop.ForAll<uint, byte[]>((id, raw) =>
        {
            using var images = new ImagesDirectory();
            var written = new PipeDataEntry { PipeId = id, Bytes = (uint)raw.Length };
            using (ImageWriter writer = images.Writer.Create(ImageKind.PipesData)) writer.Add(written, raw);
            using ImageReader reader = images.Reader.Open(ImageKind.PipesData);
            return reader.Read(PipeDataEntry.Parser).Equals(written)
                && reader.ReadRaw(raw.Length).SequenceEqual(raw) && reader.RemainingBytes == 0;
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void RoundTrip_AnyVma_ComesBack() =>
        Prop.ForAll<ulong, uint, long>((address, flags, fd) =>
        {
            using var images = new ImagesDirectory();
            MmEntry written = Space();
            written.Vmas.Add(new VmaEntry
            {
                Start = address,
                End = ~address,
                Pgoff = address >> 3,
                Shmid = flags,
                Prot = flags,
                Flags = flags,
                Status = flags,
                Fd = fd,
            });
            images.Writer.WriteSingle(ImageKind.Mm, 1, written);
            return images.Reader.ReadSingle<MmEntry>(ImageKind.Mm, 1).Equals(written);
        }).QuickCheckThrowOnFailure();

    [Fact]
    public void Commit_EmptyDirectory_MakesInventoryLast()
    {
        using var images = new ImagesDirectory();
        SnapshotWriter writer = images.Writer;
        writer.Begin();
        writer.WriteSingle(ImageKind.Fs, 1, new FsEntry { CwdId = 1, RootId = 1 });
        Assert.False(File.Exists(images["inventory.img"]));
        writer.Commit(new InventoryEntry { ImgVersion = 2 }, sync: true);
        writer.Keep()();
        Assert.Equal(2u, images.Reader.ReadSingle<InventoryEntry>(ImageKind.Inventory).ImgVersion);
        Assert.Equal(["fs-1.img", "inventory.img"], images.Names());
    }

    [Fact]
    public void Commit_SnapshotThere_ReplacesAllOfItAndNothingElse()
    {
        using var images = new ImagesDirectory();
        images.WriteOld();
        SnapshotWriter writer = images.Writer;
        writer.Begin();
        writer.WriteSingle(ImageKind.Fs, 1, new FsEntry { CwdId = 9, RootId = 9 });
        writer.LinkParent("../newer");
        Assert.Equal(ImagesDirectory.OldNames, images.Names());
        writer.Commit(new InventoryEntry { ImgVersion = 2 }, sync: true);
        writer.Keep()();
        Assert.Equal(["fs-1.img", "inventory.img", "mine.img", "parent", "stats-dump"], images.Names());
        Assert.Equal(9u, images.Reader.ReadSingle<FsEntry>(ImageKind.Fs, 1).CwdId);
        Assert.Equal("../newer", new FileInfo(images["parent"]).LinkTarget);
        Assert.Empty(Directory.GetDirectories(images.Path));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Abandon_SnapshotThere_StaysAsItWas(bool committed)
    {
        using var images = new ImagesDirectory();
        images.WriteOld();
        SnapshotWriter writer = images.Writer;
        writer.Begin();
        writer.WriteSingle(ImageKind.Fs, 1, new FsEntry { CwdId = 9, RootId = 9 });
        writer.WriteSingle(ImageKind.Fs, 3, new FsEntry { CwdId = 9, RootId = 9 });
        if (committed) writer.Commit(new InventoryEntry { ImgVersion = 2 }, sync: true);
        writer.Abandon();
        images.ExpectOld();
    }

    /// <summary>The engine dies after any number of calls that change the directory: one of the two sets is there, and whole.</summary>
    [Fact]
    public void Recover_CutOffAnywhere_LeavesOneWholeSet()
    {
        var seen = new HashSet<uint>();
        for (int calls = 0; ; calls++)
        {
            using var images = new ImagesDirectory();
            images.WriteOld();
            bool ended = images.CutOff(calls, writer =>
            {
                writer.Begin();
                writer.WriteSingle(ImageKind.Fs, 1, new FsEntry { CwdId = 9, RootId = 9 });
                writer.WriteSingle(ImageKind.Fs, 3, new FsEntry { CwdId = 9, RootId = 9 });
                writer.Commit(new InventoryEntry { ImgVersion = 2 }, sync: true);
                writer.Keep()();
            });
            SnapshotSwap.Recover(images.Fd, true, (action, name, errno) => new CheckpointException(ErrorCode.Internal, $"{action} {name}: {errno}"));
            uint version = images.Reader.ReadSingle<InventoryEntry>(ImageKind.Inventory).ImgVersion;
            seen.Add(version);
            if (version == 1) images.ExpectOld();
            else Assert.Equal(["fs-1.img", "fs-3.img", "inventory.img", "mine.img", "stats-dump"], images.Names());
            Assert.Equal(version == 1 ? 1u : 9u, images.Reader.ReadSingle<FsEntry>(ImageKind.Fs, 1).CwdId);
            Assert.Empty(Directory.GetDirectories(images.Path));
            if (ended) break;
        }

        Assert.Equal([1u, 2u], seen.Order());
    }

    [Fact]
    public void Abandon_AfterFiles_RemovesThemAndNothingElse()
    {
        using var images = new ImagesDirectory();
        File.WriteAllText(images["kept"], "");
        SnapshotWriter writer = images.Writer;
        writer.Begin();
        for (int i = 0; i < 30; i++) writer.WriteSingle(ImageKind.Fs, i, new FsEntry { CwdId = 1, RootId = 1 });
        ImageFileCalls.Close(writer.OpenRaw(ImageKind.Pages, 1, truncate: true));
        writer.Commit(new InventoryEntry { ImgVersion = 2 }, sync: true);
        writer.Abandon();
        writer.Abandon();
        Assert.Equal([images["kept"]], Directory.GetFiles(images.Path));
    }

    [Fact]
    public void Create_PlantedSymbolicLink_IsRefused()
    {
        using var images = new ImagesDirectory();
        File.WriteAllText(images["precious"], "precious");
        File.CreateSymbolicLink(images["files.img"], images["precious"]);
        var refused = Assert.Throws<CheckpointException>(() => images.Writer.Create(ImageKind.Files));
        Assert.Equal(ErrorCode.ImagesDirectory, refused.Code);
        Assert.Equal("precious", File.ReadAllText(images["precious"]));
    }

    [Fact]
    public void Create_NoRegularFile_IsRefusedAtOnce()
    {
        using var images = new ImagesDirectory();
        using (var mkfifo = System.Diagnostics.Process.Start("mkfifo", images["files.img"])) mkfifo.WaitForExit();
        foreach (bool readable in (bool[])[false, true])
        {
            var refused = Assert.Throws<CheckpointException>(() => readable
                ? images.Writer.OpenRaw(ImageKind.Files, 0, truncate: true)
                : images.Writer.Create(ImageKind.Files).LengthBytes);
            Assert.Equal(ErrorCode.ImagesDirectory, refused.Code);
            Assert.Contains("files.img", refused.Message, StringComparison.Ordinal);
            Assert.Contains("no regular file", refused.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Write_FullDevice_SaysNoSpaceWithFileAndSizes()
    {
        // /dev/full answers every write with ENOSPC (full(4)).
        using var images = new ImagesDirectory();
        int full = Sys.OpenAt(-100, "/dev/full", 1).Value;
        var writer = new ImageWriter(images.Writer, ImageKind.Fs, "fs-1.img", full);
        writer.Add(new FsEntry { CwdId = 1, RootId = 1 });
        var failed = Assert.Throws<CheckpointException>(writer.Dispose);
        Assert.Equal(ErrorCode.NoSpace, failed.Code);
        Assert.Equal(images["fs-1.img"], failed.Object);
        Assert.Contains("16 bytes", failed.Message, StringComparison.Ordinal);
        Assert.NotNull(failed.Remedy);
    }

#if DEBUG
    [Fact]
    public void Add_RequiredFieldUnset_IsFoundAtOnce()
    {
        using var images = new ImagesDirectory();
        var failed = Assert.Throws<CheckpointException>(
            () => images.Writer.WriteSingle(ImageKind.Fs, 1, new FsEntry { CwdId = 1 }));
        Assert.Equal(ErrorCode.Internal, failed.Code);
        Assert.Contains("root_id", failed.Message, StringComparison.Ordinal);
    }
#endif

    [Fact]
    public void PagemapWriter_AdjacentRuns_BecomeOne()
    {
        using var images = new ImagesDirectory();
        using (var writer = new PagemapWriter(images.Writer, ImageKind.Pagemap, 5, 1))
        {
            writer.Add(0x1000, 1, PageFlags.Present);
            writer.Add(0x2000, 2, PageFlags.Present);
            writer.Add(0x4000, 1, PageFlags.Present | PageFlags.Lazy);
            writer.Add(0x6000, 1, PageFlags.Present | PageFlags.Lazy);
            writer.Add(0x7000, 1, PageFlags.Parent);
            Assert.Equal(5u, writer.PresentPages);
            Assert.Throws<ArgumentOutOfRangeException>(() => writer.Add(0x6000, 1, PageFlags.Present));
        }

        using ImageReader reader = images.Reader.Open(ImageKind.Pagemap, 5);
        Pagemap map = Pagemap.Read(reader);
        Assert.Equal(1u, map.Head.PagesId);
        Assert.Equal(
            [(0x1000ul, 3ul, 4u), (0x4000, 1, 6), (0x6000, 1, 6), (0x7000, 1, 1)],
            map.Entries.Select(run => (run.Vaddr, run.NrPages, run.Flags)));
        Assert.All(map.Entries, run => Assert.True(run.HasCompatNrPages && run.CompatNrPages == 0));
    }

    private static MmEntry Space() => new()
    {
        MmStartCode = 1,
        MmEndCode = 1,
        MmStartData = 1,
        MmEndData = 1,
        MmStartStack = 1,
        MmStartBrk = 1,
        MmBrk = 1,
        MmArgStart = 1,
        MmArgEnd = 1,
        MmEnvStart = 1,
        MmEnvEnd = 1,
        ExeFileId = 1,
    };
}
