using System.IO.Hashing;
using System.Runtime.InteropServices;
using System.Text;
using CriuPmem.Images;
using CriuPmem.Images.Messages;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Images;

public sealed class SnapshotStreamTests
{
    [Fact]
    public void Sent_IsReceived()
    {
        using var from = new ImagesDirectory();
        using var to = new ImagesDirectory();
        SnapshotWriter writer = from.Writer;
        writer.WriteSingle(ImageKind.Fs, 7, new FsEntry { CwdId = 1, RootId = 2, Umask = 18 });
        File.WriteAllBytes(from["pages-1.img"], new byte[3 << 20]);
        File.WriteAllText(from["mine.img"], "no image");
        writer.Commit(new InventoryEntry { ImgVersion = 2 }, sync: false);
        Receive(Sent(from), to);
        Assert.Equal(["fs-7.img", "inventory.img", "pages-1.img"], to.Names());
        foreach (string name in to.Names()) Assert.Equal(File.ReadAllBytes(from[name]), File.ReadAllBytes(to[name]));
    }

    [Theory]
    [InlineData("../pages-1.img")]
    [InlineData("/tmp/pages-1.img")]
    [InlineData("pages-1.img/x")]
    [InlineData("pages-01.img")]
    [InlineData("mine.img")]
    [InlineData("stats-dump")]
    [InlineData("parent")]
    [InlineData("pages-1.img\0")]
    [InlineData("")]
    [InlineData("pages-11111111111111111111111111111111111111111111111111111111111111111.img")]
    public void NameThatIsNoImage_IsRefused(string name)
    {
        using var to = new ImagesDirectory();
        var stream = new List<byte>(Head());
        AddRecord(stream, StreamFormat.File, name, 4, "text"u8.ToArray());
        AddRecord(stream, StreamFormat.End, "", 1, []);
        Assert.Equal(ErrorCode.ImageDamaged, Assert.Throws<CheckpointException>(() => Receive([.. stream], to)).Code);
        Assert.Empty(to.Names());
    }

    [Fact]
    public void SameNameTwice_IsRefused()
    {
        using var to = new ImagesDirectory();
        var stream = new List<byte>(Head());
        for (int i = 0; i < 2; i++) AddRecord(stream, StreamFormat.File, "fs-1.img", 4, "text"u8.ToArray());
        AddRecord(stream, StreamFormat.End, "", 2, []);
        Assert.Throws<CheckpointException>(() => Receive([.. stream], to));
    }

    [Fact]
    public void AnyCut_IsSeen()
    {
        var stream = new List<byte>(Head());
        AddRecord(stream, StreamFormat.File, "fs-1.img", 4, "text"u8.ToArray());
        AddRecord(stream, StreamFormat.End, "", 1, []);
        using (var whole = new ImagesDirectory()) Receive([.. stream], whole);
        for (int keep = 0; keep < stream.Count; keep++)
        {
            using var to = new ImagesDirectory();
            Assert.Equal(ErrorCode.StreamBroken, Assert.Throws<CheckpointException>(() => Receive([.. stream.Take(keep)], to)).Code);
        }
    }

    [Fact]
    public void FewerFilesThanTheEndSays_IsSeen()
    {
        using var to = new ImagesDirectory();
        var stream = new List<byte>(Head());
        AddRecord(stream, StreamFormat.End, "", 1, []);
        Assert.Throws<CheckpointException>(() => Receive([.. stream], to));
    }

    private static byte[] Sent(ImagesDirectory from)
    {
        string path = from["sent"];
        using (FileStream file = File.Create(path))
        {
            var sender = new SnapshotSender((int)file.SafeFileHandle.DangerousGetHandle());
            sender.SendFiles(from.Reader);
            sender.End();
        }

        return File.ReadAllBytes(path);
    }

    private static void Receive(byte[] stream, ImagesDirectory to)
    {
        string path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, stream);
            using FileStream file = File.OpenRead(path);
            new SnapshotReceiver((int)file.SafeFileHandle.DangerousGetHandle()).Receive(to.Fd);
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static byte[] Head()
    {
        var head = new byte[StreamFormat.HeadBytes];
        MemoryMarshal.Write(head, ImageKind.CommonMagic);
        MemoryMarshal.Write(head.AsSpan(4), StreamFormat.Magic);
        MemoryMarshal.Write(head.AsSpan(8), StreamFormat.Version);
        return head;
    }

    private static void AddRecord(List<byte> stream, uint type, string name, ulong length, byte[] contents)
    {
        byte[] nameBytes = Encoding.ASCII.GetBytes(name);
        var record = new byte[16];
        MemoryMarshal.Write(record, type);
        MemoryMarshal.Write(record.AsSpan(4), (uint)nameBytes.Length);
        MemoryMarshal.Write(record.AsSpan(8), length);
        byte[] all = [.. record, .. nameBytes, .. contents];
        stream.AddRange(all);
        stream.AddRange(BitConverter.GetBytes(XxHash3.HashToUInt64(all)));
    }
}
