using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Images;

/// <summary>A directory of images for one test, which vanishes with it.</summary>
internal sealed class ImagesDirectory : IDisposable
{
    public ImagesDirectory()
    {
        // The mutation tests write a hundred thousand files: not on a disk if there is a choice.
        string parent = Directory.Exists("/dev/shm") ? "/dev/shm" : System.IO.Path.GetTempPath();
        Path = System.IO.Path.Combine(parent, $"criu-pmem-test-{Guid.NewGuid():N}");
        Directory.CreateDirectory(Path);
        Fd = ImageFileCalls.OpenToRead(-100, Path).Value;
        Assert.True(Fd >= 0);
    }

    public string Path { get; }

    public int Fd { get; }

    public SnapshotReader Reader => new(Fd, Path);

    public SnapshotWriter Writer => new(Fd, Path);

    public string this[string fileName] => System.IO.Path.Combine(Path, fileName);

    /// <summary>Copies a set that the peer made; pages files too large to keep become holes of their length.</summary>
    public static ImagesDirectory OfPeer(string set)
    {
        var directory = new ImagesDirectory();
        foreach (string file in Directory.GetFiles(Repository.PeerImages(set)))
        {
            File.Copy(file, directory[System.IO.Path.GetFileName(file)]);
        }

        File.Delete(directory["pages.txt"]);
        foreach (string line in File.ReadLines(System.IO.Path.Combine(Repository.PeerImages(set), "pages.txt")))
        {
            string[] parts = line.Split(' ');
            if (File.Exists(directory[parts[0]])) continue;
            using FileStream pages = File.Create(directory[parts[0]]);
            pages.SetLength(long.Parse(parts[1]));
        }

        return directory;
    }

    /// <summary>What <see cref="WriteOld"/> leaves.</summary>
    public static string[] OldNames { get; } = ["fs-1.img", "fs-2.img", "inventory.img", "mine.img", "parent", "stats-dump"];

    /// <summary>The names of its files, without those of directories.</summary>
    public string[] Names() => [.. Directory.GetFileSystemEntries(Path)
        .Where(path => new FileInfo(path).LinkTarget is not null || File.Exists(path))
        .Select(path => System.IO.Path.GetFileName(path)).Order(StringComparer.Ordinal)];

    /// <summary>Makes a complete snapshot, with a parent, beside files of others.</summary>
    public void WriteOld()
    {
        SnapshotWriter writer = Writer;
        writer.Begin();
        writer.LinkParent("../older");
        for (int i = 1; i <= 2; i++) writer.WriteSingle(ImageKind.Fs, i, new FsEntry { CwdId = 1, RootId = 1 });
        writer.Commit(new InventoryEntry { ImgVersion = 1 }, sync: false);
        writer.Keep()();
        File.WriteAllText(this["mine.img"], "no image");
        File.WriteAllText(this["stats-dump"], "of the work directory");
    }

    /// <summary>Expects what <see cref="WriteOld"/> left, and nothing else.</summary>
    public void ExpectOld()
    {
        Assert.Equal(OldNames, Names());
        Assert.DoesNotContain(Directory.GetDirectories(Path), path => new FileInfo(path).LinkTarget is null);
        Assert.Equal("../older", new FileInfo(this["parent"]).LinkTarget);
        Assert.Equal(1u, Reader.ReadSingle<InventoryEntry>(ImageKind.Inventory).ImgVersion);
        Assert.Equal(1u, Reader.ReadSingle<FsEntry>(ImageKind.Fs, 1).CwdId);
    }

    /// <summary>Does work on a writer that dies after a number of renamings; true when it ended before that.</summary>
    public bool CutOff(int renamings, Action<SnapshotWriter> work)
    {
        SnapshotSwap.BeforeMove = () =>
        {
            if (renamings-- == 0) throw new OperationCanceledException();
        };
        try
        {
            work(Writer);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
        finally
        {
            SnapshotSwap.BeforeMove = null;
        }
    }

    public void Dispose()
    {
        ImageFileCalls.Close(Fd);
        Directory.Delete(Path, recursive: true);
    }
}
