using System.Buffers.Binary;
using CriuPmem.Images.Messages;
using Google.Protobuf;

namespace CriuPmem.SystemTests.Failures;

/// <summary>inventory.img, changed as somebody might who can write to it.</summary>
internal static class Inventory
{
    private const int HeaderBytes = 8; // its magic, the length of the entry

    /// <summary>Names another process as the one that tracks memory.</summary>
    public static byte[] NamingHolder(byte[] image, int pid)
    {
        int length = BinaryPrimitives.ReadInt32LittleEndian(image.AsSpan(HeaderBytes - sizeof(int)));
        InventoryEntry entry = InventoryEntry.Parser.ParseFrom(image, HeaderBytes, length);
        string stat = File.ReadAllText($"/proc/{pid}/stat");
        entry.Tracking.HolderPid = (uint)pid;
        entry.Tracking.HolderStartTime = ulong.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[19], System.Globalization.CultureInfo.InvariantCulture);
        byte[] changed = [.. image[..HeaderBytes], .. entry.ToByteArray()];
        BinaryPrimitives.WriteInt32LittleEndian(changed.AsSpan(HeaderBytes - sizeof(int)), changed.Length - HeaderBytes);
        return changed;
    }
}
