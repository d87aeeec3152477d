using CriuPmem.Images;
using CriuPmem.Images.Wire;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace CriuPmem.Tests.Images;

/// <summary>Reads any image into messages, and writes it again.</summary>
internal static class ImageCopy
{
    private static readonly Dictionary<string, MessageDescriptor> Descriptors =
        SchemaGenerator.AllMessages().ToDictionary(message => message.FullName);

    public static List<(IMessage Entry, byte[] Raw)> Read(SnapshotReader snapshot, ImageKind kind, long id)
    {
        using ImageReader reader = snapshot.Open(kind, id);
        var entries = new List<(IMessage, byte[])>();
        while (true)
        {
            string message = entries.Count == 0 ? kind.EntryMessage! : kind.NextMessage!;
            if (!reader.TryReadBytes(MessageSchemas.Of(message), out ReadOnlySpan<byte> bytes)) return entries;
            byte[] copy = bytes.ToArray();
            IMessage entry = Descriptors[message].Parser.ParseFrom(copy);
            entries.Add((entry, reader.ReadRaw(ImageBlobs.LengthAfter(reader, message, copy)).ToArray()));
        }
    }

    public static void Write(SnapshotWriter snapshot, ImageKind kind, long id, List<(IMessage Entry, byte[] Raw)> entries)
    {
        using ImageWriter writer = snapshot.Create(kind, id);
        foreach ((IMessage entry, byte[] raw) in entries) writer.Add(entry, raw);
    }
}
