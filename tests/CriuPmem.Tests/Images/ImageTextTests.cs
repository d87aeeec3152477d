using System.Text.Json;
using CriuPmem.Images;

namespace CriuPmem.Tests.Images;

public sealed class ImageTextTests
{
    [Theory]
    [MemberData(nameof(PeerImageTests.Files), MemberType = typeof(PeerImageTests))]
    public void Write_PeerImage_IsJsonWithAllEntries(string set, string name)
    {
        ImageKind kind = ImageKind.FromFileName(name, out long id)!;
        if (kind.Framing == ImageFraming.Raw) return;
        using ImagesDirectory peer = ImagesDirectory.OfPeer(set);
        using JsonDocument json = Render(peer, kind, id);
        int entries = ImageCopy.Read(peer.Reader, kind, id).Count;
        Assert.Equal(entries, json.RootElement.GetProperty("entries").GetArrayLength());
    }

    [Fact]
    public void Write_PeerMemfd_HasItsFields()
    {
        using ImagesDirectory peer = ImagesDirectory.OfPeer("rich");
        using JsonDocument json = Render(peer, ImageKind.Memfd, 0);
        JsonElement note = json.RootElement.GetProperty("entries")[1];
        Assert.Equal("note", note.GetProperty("name").GetString());
        Assert.Equal(5, note.GetProperty("size").GetInt32());
    }

    [Fact]
    public void Write_PeerMappings_HasNegativeAndRepeatedFields()
    {
        using ImagesDirectory peer = ImagesDirectory.OfPeer("sleep");
        using JsonDocument json = Render(peer, ImageKind.Mm, 8203);
        JsonElement mm = json.RootElement.GetProperty("entries")[0];
        Assert.All(mm.GetProperty("vmas").EnumerateArray(), vma => Assert.Equal(-1, vma.GetProperty("fd").GetInt32()));
        Assert.True(mm.GetProperty("mm_saved_auxv").GetArrayLength() > 10);
    }

    private static JsonDocument Render(ImagesDirectory images, ImageKind kind, long id)
    {
        using var text = new MemoryStream();
        using (ImageReader reader = images.Reader.Open(kind, id))
        using (var json = new Utf8JsonWriter(text))
        {
            ImageText.Write(reader, json);
        }

        return JsonDocument.Parse(text.ToArray());
    }
}
