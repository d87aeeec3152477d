using CriuPmem.Images;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Images;

/// <summary>Damaged images are read, or refused in words; nothing else.</summary>
public sealed class MutationTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData("sleep")]
    [InlineData("rich")]
    public void Read_EveryBitFlipped_ReadsAllOrThrowsCheckpointException(string set)
    {
        using ImagesDirectory images = ImagesDirectory.OfPeer(set);
        int refused = 0, read = 0;
        var seen = new HashSet<string>();
        foreach (string path in Directory.GetFiles(images.Path).Order())
        {
            ImageKind kind = ImageKind.FromFileName(Path.GetFileName(path), out long id)!;

            // One of each kind is enough.
            if (kind.Framing == ImageFraming.Raw || !seen.Add(kind.Name)) continue;
            byte[] sound = File.ReadAllBytes(path);
            for (int bit = 0; bit < sound.Length * 8; bit++)
            {
                byte[] damaged = (byte[])sound.Clone();
                damaged[bit / 8] ^= (byte)(1 << (bit % 8));
                File.WriteAllBytes(path, damaged);
                if (ReadsAll(images, kind, id, damaged.Length)) read++;
                else refused++;
            }

            File.WriteAllBytes(path, sound);
        }

        output.WriteLine($"{set}: {refused} refused while reading, {read} read");
        Assert.True(refused > read / 4);
    }

    [Fact]
    public void Read_EveryTruncation_ReadsAllOrThrowsCheckpointException()
    {
        using ImagesDirectory images = ImagesDirectory.OfPeer("sleep");
        foreach (string path in Directory.GetFiles(images.Path))
        {
            ImageKind kind = ImageKind.FromFileName(Path.GetFileName(path), out long id)!;
            if (kind.Framing == ImageFraming.Raw) continue;
            byte[] sound = File.ReadAllBytes(path);
            for (int length = 0; length < sound.Length; length++)
            {
                File.WriteAllBytes(path, sound[..length]);
                ReadsAll(images, kind, id, length);
            }

            File.WriteAllBytes(path, sound);
        }
    }

    [Fact]
    public void Load_OneBitOfEveryByteFlipped_LoadsOrThrowsCheckpointException()
    {
        using ImagesDirectory images = ImagesDirectory.OfPeer("sleep");
        int refused = 0, all = 0;
        foreach (string path in Directory.GetFiles(images.Path))
        {
            if (ImageKind.FromFileName(Path.GetFileName(path), out _)!.Framing == ImageFraming.Raw) continue;
            byte[] sound = File.ReadAllBytes(path);
            for (int at = 0; at < sound.Length; at++)
            {
                byte[] damaged = (byte[])sound.Clone();
                damaged[at] ^= (byte)(1 << (at % 8));
                File.WriteAllBytes(path, damaged);
                all++;
                try
                {
                    SnapshotValidator.Check(SnapshotContents.Load(images.Reader), images.Path);
                }
                catch (CheckpointException damage)
                {
                    refused++;
                    Assert.StartsWith(images.Path, damage.Object);
                    Assert.NotNull(damage.Remedy);
                }
            }

            File.WriteAllBytes(path, sound);
        }

        output.WriteLine($"{refused} of {all} refused");
    }

    // True if it was read, and then nothing of the file was passed over: what was read makes a file of its length.
    private static bool ReadsAll(ImagesDirectory images, ImageKind kind, long id, int lengthBytes)
    {
        try
        {
            var entries = ImageCopy.Read(images.Reader, kind, id);
            int total = kind.HeaderBytes + entries.Sum(entry => 4 + entry.Entry.CalculateSize() + entry.Raw.Length);

            // A list that the flip has turned into its packed form is written as single fields: at worst a byte less.
            Assert.InRange(total, lengthBytes - 1, int.MaxValue);
            return true;
        }
        catch (CheckpointException damage)
        {
            Assert.Equal(ErrorCode.ImageDamaged, damage.Code);
            Assert.Contains(kind.FileName(id), damage.Message, StringComparison.Ordinal);
            return false;
        }
    }
}
