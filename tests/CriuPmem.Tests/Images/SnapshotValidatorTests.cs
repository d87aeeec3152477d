using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Images;

public sealed class SnapshotValidatorTests
{
    [Fact]
    public void Find_OverlappingMappings_NamesFileAndMapping() =>
        Finds(c => c.Mms[8203].Vmas[3].Start -= 4096, "mm-8203.img", "mapping 3");

    [Fact]
    public void Find_MappingBeyondUserSpace_IsFound() =>
        Finds(c => c.Mms[8203].Vmas[0].End = 1UL << 48, "mm-8203.img", "outside user space");

    [Fact]
    public void Find_FileMappingMarkedAsVdso_IsFound() =>
        Finds(
            c => c.Mms[8203].Vmas.First(vma => (vma.Status & (uint)VmaStatus.FilePrivate) != 0).Status |= (uint)VmaStatus.Vdso,
            "mm-8203.img", "the kernel's and a file's");

    [Fact]
    public void Find_SecondVdso_IsFound() =>
        Finds(
            c => c.Mms[8203].Vmas.First(vma => (vma.Status & (uint)VmaStatus.AnonPrivate) != 0).Status |= (uint)VmaStatus.Vdso,
            "mm-8203.img", "a second vDSO");

    [Fact]
    public void Find_MappingNotPageAligned_IsFound() =>
        Finds(c => c.Mms[8203].Vmas[0].Start += 16, "mm-8203.img", "no range of pages");

    [Fact]
    public void Find_MappingOfUnknownFile_IsFound() =>
        Finds(c => c.Mms[8203].Vmas[0].Shmid = 999, "mm-8203.img", "999");

    [Fact]
    public void Find_PagesOutsideMappings_IsFound() =>
        Finds(c => c.Pagemaps[8203].Entries[0].Vaddr = 0x1000, "pagemap-8203.img", "not all in mappings");

    [Fact]
    public void Find_RunsThatOverflow_IsFound() =>
        Finds(c => c.Pagemaps[8203].Entries[0].NrPages = ulong.MaxValue / 2, "pagemap-8203.img", "no range");

    [Fact]
    public void Find_PagesFileTooShort_IsFound() =>
        Finds(c => c.PagesFileBytes[1] -= 4096, "pages-1.img", "pages");

    [Fact]
    public void Find_PagesInParentWithoutParent_IsFound() =>
        Finds(c => c.Pagemaps[8203].Entries[0].Flags = 1, "pagemap-8203.img", "parent");

    [Fact]
    public void Find_DescriptorTwice_IsFound() =>
        Finds(c => c.Fdinfos[2][1].Fd = c.Fdinfos[2][0].Fd, "fdinfo-2.img", "twice");

    [Fact]
    public void Find_DescriptorOfOtherType_IsFound() =>
        Finds(c => c.Fdinfos[2][0].Type = FdTypes.Pipe, "fdinfo-2.img", "of type Reg");

    [Fact]
    public void Find_DescriptorWithoutFile_IsFound() =>
        Finds(c => c.Fdinfos[2][0].Id = 77, "fdinfo-2.img", "file 77");

    [Fact]
    public void Find_FileOfOtherType_IsFound() => Finds(c => c.Files[0].Type = FdTypes.Pipe, "files.img", "body");

    [Fact]
    public void Find_ThreadWithoutCore_IsFound() => Finds(c => c.Pstree[0].Threads.Add(4000), "core-4000.img", "missing");

    [Fact]
    public void Find_ParentUnknown_IsFound() =>
        Finds(
            c => c.Pstree = [c.Pstree[0], new PstreeEntry { Pid = 9, Ppid = 5, Pgid = 9, Sid = 9, Threads = { 9 } }],
            "pstree.img", "does not come before");

    [Fact]
    public void Find_BadCodeSegment_IsFound() =>
        Finds(c => c.Cores[8203].ThreadInfo.Gpregs.Cs = 0x10, "core-8203.img", "code segment");

    [Fact]
    public void Find_FilterThatIsNotThere_IsFound() =>
        Finds(
            c =>
            {
                c.Cores[8203].ThreadCore.SeccompMode = SeccompMode.Filter;
                c.Cores[8203].ThreadCore.SeccompFilter = 3;
            },
            "core-8203.img", "filter 3");

    [Fact]
    public void Find_OtherImageVersion_IsUnsupported()
    {
        using ImagesDirectory peer = ImagesDirectory.OfPeer("sleep");
        SnapshotContents contents = SnapshotContents.Load(peer.Reader);
        contents.Inventory.ImgVersion = 3;
        var refused = Assert.Throws<CheckpointException>(() => SnapshotValidator.Check(contents, peer.Path));
        Assert.Equal(ErrorCode.ImageUnsupported, refused.Code);
    }

    [Theory]
    [InlineData("pages-1.img")]
    [InlineData("mm-8203.img")]
    [InlineData("core-8203.img")]
    [InlineData("inventory.img")]
    [InlineData("files.img")]
    public void LoadAndCheck_FileMissing_NamesItWithRemedy(string name)
    {
        using ImagesDirectory peer = ImagesDirectory.OfPeer("sleep");
        File.Delete(peer[name]);
        var missing = Assert.Throws<CheckpointException>(
            () => SnapshotValidator.Check(SnapshotContents.Load(peer.Reader), peer.Path));
        Assert.NotNull(missing.Remedy);
        if (name == "files.img") return; // Without open files there would be none: the first reference tells.
        Assert.Equal(ErrorCode.ImageMissing, missing.Code);
        Assert.Equal(peer[name], missing.Object);
    }

    /// <summary>A CPU with MPX has a component of 64 bytes, of which two words are used; the peer writes all eight.</summary>
    [Theory]
    [InlineData(2, true)]
    [InlineData(8, true)]
    [InlineData(9, false)]
    public void Find_BoundsConfigurationOfSoManyWords_IsRightUpToTheComponent(int words, bool right)
    {
        using ImagesDirectory peer = ImagesDirectory.OfPeer("sleep");
        SnapshotContents contents = SnapshotContents.Load(peer.Reader);
        UserX86XsaveEntry xsave = contents.Cores.Values.First().ThreadInfo.Fpregs.Xsave;
        xsave.BndcsrState.Clear();
        for (int i = 0; i < words; i++) xsave.BndcsrState.Add(0);
        bool isFound = SnapshotValidator.Find(contents).Any(static found => found.Cause.Contains("bndcsr_state", StringComparison.Ordinal));
        Assert.Equal(right, !isFound);
    }

    private static void Finds(Action<SnapshotContents> damage, string file, string cause)
    {
        using ImagesDirectory peer = ImagesDirectory.OfPeer("sleep");
        SnapshotContents contents = SnapshotContents.Load(peer.Reader);
        damage(contents);
        Assert.Contains(
            SnapshotValidator.Find(contents),
            found => found.File == file && found.Cause.Contains(cause, StringComparison.Ordinal));
    }
}
