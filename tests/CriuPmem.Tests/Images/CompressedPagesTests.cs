using CriuPmem.Images;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Images;

public sealed class CompressedPagesTests
{
    [Theory]
    [InlineData("Lz4", 1, 4096)]
    [InlineData("Lz4", 9, 300 * 4096)]
    [InlineData("Zstd", 3, 4096)]
    [InlineData("Zstd", 1, 300 * 4096)]
    [InlineData("Lz4", 1, 512 * 1024)]
    [InlineData("Zstd", 3, 0)]
    public void Written_IsRead(string method, int level, int lengthBytes)
    {
        byte[] plain = Contents(lengthBytes);
        using var images = new ImagesDirectory();
        Write(images, plain, new PageCompression(Enum.Parse<PageCompressionMethod>(method), level));
        using OwnedFd file = Open(images);
        using CompressedPagesReader reader = CompressedPagesReader.Open(file.Fd, "cpages-1.img");
        Assert.Equal(lengthBytes, reader.PlainBytes);
        var back = new byte[lengthBytes];
        for (int block = reader.Blocks - 1; block >= 0; block--) reader.ReadBlock(block, back.AsSpan(block * reader.BlockBytes)); // in any order
        Assert.Equal(plain, back);
    }

    [Theory]
    [InlineData("Lz4")]
    [InlineData("Zstd")]
    public void AnyByteChanged_IsSeen(string method)
    {
        byte[] plain = Contents(200 * 4096);
        using var images = new ImagesDirectory();
        Write(images, plain, new PageCompression(Enum.Parse<PageCompressionMethod>(method), 1));
        byte[] stored = File.ReadAllBytes(images["cpages-1.img"]);
        var random = new Random(1);
        for (int i = 0; i < 400; i++)
        {
            byte[] damaged = [.. stored];
            damaged[i < 64 ? i : random.Next(stored.Length)] ^= (byte)(1 << random.Next(8));
            File.WriteAllBytes(images["cpages-1.img"], damaged);
            Assert.Throws<CheckpointException>(() => ReadAll(images));
        }
    }

    [Fact]
    public void AnyLength_IsSeen()
    {
        using var images = new ImagesDirectory();
        Write(images, Contents(40 * 4096), PageCompression.Default);
        byte[] stored = File.ReadAllBytes(images["cpages-1.img"]);
        for (int length = 0; length < stored.Length; length += 97)
        {
            File.WriteAllBytes(images["cpages-1.img"], stored[..length]);
            Assert.Throws<CheckpointException>(() => ReadAll(images));
        }
    }

    [Fact]
    public void Nonsense_IsDecodedIntoNothingElse()
    {
        // A block that its checksums call right, and that no decoder understands: as a forger would write it.
        foreach (PageCompressionMethod method in new[] { PageCompressionMethod.Lz4, PageCompressionMethod.Zstd })
        {
            using var decoder = new BlockDecoder(method);
            var random = new Random(2);
            var stored = new byte[700];
            var room = new byte[3 * 4096];
            for (int i = 0; i < 20_000; i++)
            {
                random.NextBytes(stored);
                decoder.TryDecode(stored.AsSpan(0, random.Next(1, stored.Length)), room.AsSpan(4096, 4096));
            }

            Assert.False(room.AsSpan(0, 4096).ContainsAnyExcept((byte)0));
            Assert.False(room.AsSpan(8192).ContainsAnyExcept((byte)0));
        }
    }

    private static void ReadAll(ImagesDirectory images)
    {
        using OwnedFd file = Open(images);
        using CompressedPagesReader reader = CompressedPagesReader.Open(file.Fd, "cpages-1.img");
        var block = new byte[reader.BlockBytes];
        for (int i = 0; i < reader.Blocks; i++) reader.ReadBlock(i, block);
    }

    private static OwnedFd Open(ImagesDirectory images) => new(images.Reader.OpenRaw(ImageKind.CompressedPages, 1, out _));

    private static void Write(ImagesDirectory images, byte[] plain, PageCompression compression)
    {
        using var writer = new CompressedPagesWriter(images.Writer, 1, compression, plain.Length);
        using BlockEncoder encoder = writer.NewEncoder();
        const int part = 512 * 1024;
        for (int at = (plain.Length - 1) / part * part; at >= 0 && plain.Length > 0; at -= part) // the last first
        {
            Assert.False(writer.Add(encoder, at, plain.AsSpan(at, Math.Min(part, plain.Length - at))).Failed);
        }

        writer.Complete();
    }

    /// <summary>Pages of zeros, of text, and of what nothing makes smaller.</summary>
    private static byte[] Contents(int lengthBytes)
    {
        var bytes = new byte[lengthBytes];
        var random = new Random(3);
        for (int page = 0; page < lengthBytes; page += 4096)
        {
            Span<byte> one = bytes.AsSpan(page, 4096);
            if (page / 4096 % 3 == 1) random.NextBytes(one);
            else if (page / 4096 % 3 == 2) for (int i = 0; i < one.Length; i++) one[i] = (byte)"pages of a program "[i % 19];
        }

        return bytes;
    }
}
