using System.Buffers.Binary;
using CriuPmem.Images.Messages;
using CriuPmem.Kernel;
using Google.Protobuf;

namespace CriuPmem.Images;

/// <summary>Makes of a snapshot with compressed pages one that any engine reads, in its own directory.</summary>
/// <remarks>
/// At any instant, also after a power cut, the directory holds a whole snapshot: plain pages are written beside the compressed
/// ones; then page map after page map is replaced by one that leads to them; then the inventory; then the compressed
/// ones go. What was cut off goes on when it is begun again.
/// </remarks>
internal sealed class SnapshotDecompression
{
    private const int BufferBytes = 4 << 20;

    private readonly SnapshotReader _reader;
    private readonly SnapshotWriter _writer;
    private readonly int _directoryFd;

    private SnapshotDecompression(SnapshotReader reader, int directoryFd, string directoryName)
    {
        _reader = reader;
        _writer = new SnapshotWriter(directoryFd, directoryName);
        _directoryFd = directoryFd;
    }

    /// <summary>Converts one snapshot of a chain; those that it continues are converted already.</summary>
    /// <returns>Bytes of pages that were compressed.</returns>
    /// <exception cref="CheckpointException">It is damaged, or there is no room; the snapshot is as it was.</exception>
    public static long Run(SnapshotReader reader, int directoryFd, string directoryName) => new SnapshotDecompression(reader, directoryFd, directoryName).Convert();

    private long Convert()
    {
        var inventory = _reader.ReadSingle<InventoryEntry>(ImageKind.Inventory);
        List<string> names = _reader.FileNames();
        var maps = new List<(ImageKind Kind, long Id, Pagemap Map)>();
        foreach (string name in names)
        {
            if (ImageKind.FromFileName(name, out long id) is not { } kind || (kind != ImageKind.Pagemap && kind != ImageKind.PagemapShmem)) continue;
            using ImageReader image = _reader.Open(kind, id);
            if (Pagemap.Read(image) is { Head.Compressed: true } map) maps.Add((kind, id, map));
        }

        long bytes = WritePages(maps);
        foreach ((ImageKind kind, long id, Pagemap map) in maps) Replace(kind.FileName(id), WithPlainHead(kind.FileName(id), map.Head));
        if (inventory.ImgVersion == CompressedPagesFormat.InventoryVersion)
        {
            inventory.ImgVersion = 2;
            Replace(ImageKind.Inventory.FileName(), Inventory(inventory));
        }

        foreach (string name in names)
        {
            if (ImageKind.FromFileName(name, out _) == ImageKind.CompressedPages) ImageFileCalls.Unlink(_directoryFd, name);
        }

        return bytes;
    }

    private long WritePages(List<(ImageKind Kind, long Id, Pagemap Map)> maps)
    {
        var written = new List<string>();
        try
        {
            long bytes = 0;
            foreach ((_, _, Pagemap map) in maps)
            {
                written.Add(ImageKind.Pages.FileName(map.Head.PagesId));
                bytes += WritePages(map.Head.PagesId);
            }

            return bytes;
        }
        catch
        {
            foreach (string name in written) ImageFileCalls.Unlink(_directoryFd, name);
            throw;
        }
    }

    private long WritePages(uint pagesId)
    {
        string name = ImageKind.Pages.FileName(pagesId);
        using var from = new OwnedFd(_reader.OpenRaw(ImageKind.CompressedPages, pagesId, out _));
        using var pages = CompressedPagesReader.Open(from.Fd, ImageKind.CompressedPages.FileName(pagesId));
        SysResult opened = ImageFileCalls.OpenToWrite(_directoryFd, name, truncate: true, readable: false);
        if (opened.Failed) throw _writer.Failure("create", name, opened.Errno, 0);
        using var to = new OwnedFd(opened.Value);
        var buffer = new byte[Math.Max(BufferBytes, pages.BlockBytes)];
        int used = 0;
        for (int block = 0; block < pages.Blocks; block++)
        {
            pages.ReadBlock(block, buffer.AsSpan(used));
            used += pages.LengthOf(block);
            if (block + 1 < pages.Blocks && used + pages.BlockBytes <= buffer.Length) continue;
            SysResult written = ImageFileCalls.WriteFully(to.Fd, buffer.AsSpan(0, used));
            if (written.Failed) throw _writer.Failure("write", name, written.Errno, used);
            used = 0;
            Interruption.Check();
        }

        SysResult synced = ImageFileCalls.Fsync(to.Fd);
        return synced.Failed ? throw _writer.Failure("sync", name, synced.Errno, 0) : pages.PlainBytes;
    }

    /// <summary>The bytes of a page map, its first entry but for the mark as it was, the others untouched.</summary>
    private byte[] WithPlainHead(string name, PagemapHead head)
    {
        SysResult opened = ImageFileCalls.OpenToRead(_directoryFd, name);
        if (opened.Failed) throw _writer.Failure("open", name, opened.Errno, 0);
        using var file = new OwnedFd(opened.Value);
        var old = new byte[ImageFileCalls.RegularFileLength(file.Fd).Raw];
        SysResult read = ImageFileCalls.ReadAt(file.Fd, old, 0);
        if (read.Failed) throw _writer.Failure("read", name, read.Errno, old.Length);
        int after = 12 + BinaryPrimitives.ReadInt32LittleEndian(old.AsSpan(8));
        PagemapHead plain = head.Clone();
        plain.ClearCompressed();
        return [.. old.AsSpan(0, 8), .. Sized(plain), .. old.AsSpan(after)];
    }

    private static byte[] Inventory(InventoryEntry inventory)
    {
        var magic = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(magic, ImageKind.Inventory.Magic);
        return [.. magic, .. Sized(inventory)];
    }

    private static byte[] Sized(IMessage message)
    {
        var size = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(size, message.CalculateSize());
        return [.. size, .. message.ToByteArray()];
    }

    private void Replace(string name, byte[] bytes)
    {
        string fresh = SnapshotWriter.NewInventory; // a name that the next dump clears away
        SysResult opened = ImageFileCalls.OpenToWrite(_directoryFd, fresh, truncate: true, readable: false);
        if (opened.Failed) throw _writer.Failure("create", name, opened.Errno, 0);
        SysResult done = ImageFileCalls.WriteFully(opened.Value, bytes);
        if (!done.Failed) done = ImageFileCalls.Fsync(opened.Value);
        ImageFileCalls.Close(opened.Value);
        if (!done.Failed) done = ImageFileCalls.Rename(_directoryFd, fresh, _directoryFd, name);
        if (!done.Failed) done = ImageFileCalls.Fsync(_directoryFd);
        if (!done.Failed) return;
        ImageFileCalls.Unlink(_directoryFd, fresh);
        throw _writer.Failure("replace", name, done.Errno, bytes.Length);
    }
}
