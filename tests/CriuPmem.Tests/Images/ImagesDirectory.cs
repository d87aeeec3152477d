using CriuPmem.Images;
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

    public void Dispose()
    {
        ImageFileCalls.Close(Fd);
        Directory.Delete(Path, recursive: true);
    }
}
