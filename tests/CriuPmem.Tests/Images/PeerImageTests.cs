using CriuPmem.Images;

namespace CriuPmem.Tests.Images;

/// <summary>Images that CRIU 4.2.1 made: images/peer-small/README.md says of what.</summary>
public sealed class PeerImageTests
{
    public static TheoryData<string, string> Files()
    {
        var data = new TheoryData<string, string>();
        foreach (string set in new[] { "sleep", "tree", "rich" })
        {
            foreach (string file in Directory.GetFiles(Repository.PeerImages(set)).Order())
            {
                string name = Path.GetFileName(file);
                if (name != "pages.txt") data.Add(set, name);
            }
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Files))]
    public void Rewrite_PeerImage_IsEqualByteForByte(string set, string name)
    {
        ImageKind? kind = ImageKind.FromFileName(name, out long id);
        Assert.NotNull(kind);
        if (kind.Framing == ImageFraming.Raw) return;
        using ImagesDirectory peer = ImagesDirectory.OfPeer(set);
        using var ours = new ImagesDirectory();
        ImageCopy.Write(ours.Writer, kind, id, ImageCopy.Read(peer.Reader, kind, id));
        Assert.Equal(File.ReadAllBytes(peer[name]), File.ReadAllBytes(ours[name]));
    }

    [Theory]
    [InlineData("sleep", 1)]
    [InlineData("tree", 5)]
    [InlineData("rich", 4)]
    public void Validate_PeerSnapshot_HasNoViolation(string set, int processes)
    {
        using ImagesDirectory peer = ImagesDirectory.OfPeer(set);
        SnapshotContents contents = SnapshotContents.Load(peer.Reader);
        Assert.Equal(processes, contents.Pstree.Count);
        Assert.Empty(SnapshotValidator.Find(contents));
    }
}
