using System.Buffers.Binary;
using System.Text;
using CriuPmem.Engine;
using CriuPmem.Images.Messages;

namespace CriuPmem.Cli.Output;

/// <summary>--display-stats: the figures of stats-dump and stats-restore, in the peer's words.</summary>
internal static class StatsReport
{
    private const uint ServiceMagic = 0x55105940;
    private const uint StatsMagic = 0x57093306;

    /// <summary>The report of a dump: from the file the engine has written, else from its result.</summary>
    public static string Dump(int workDirectoryFd, DumpResult result)
    {
        DumpStatsEntry stats = TryRead(workDirectoryFd, "stats-dump")?.Dump ?? new DumpStatsEntry
        {
            FreezingTime = (uint)result.FreezingMicroseconds,
            FrozenTime = (uint)result.FrozenMicroseconds,
            PagesWritten = (ulong)result.MemoryBytes / 4096,
        };
        var text = new StringBuilder("Displaying dump stats:\n");
        text.Append($"Freezing time: {stats.FreezingTime} us\n");
        text.Append($"Frozen time: {stats.FrozenTime} us\n");
        text.Append($"Memory dump time: {stats.MemdumpTime} us\n");
        text.Append($"Memory write time: {stats.MemwriteTime} us\n");
        text.Append($"IRMAP resolve time: {stats.IrmapResolve} us\n");
        Pages(text, "Memory pages scanned", stats.PagesScanned);
        Pages(text, "Memory pages skipped from parent", stats.PagesSkippedParent);
        Pages(text, "Memory pages written", stats.PagesWritten);
        Pages(text, "Lazy memory pages", stats.PagesLazy);
        return text.ToString();
    }

    /// <summary>The report of a restore.</summary>
    public static string Restore(int workDirectoryFd, RestoreResult result)
    {
        RestoreStatsEntry stats = TryRead(workDirectoryFd, "stats-restore")?.Restore ?? new RestoreStatsEntry
        {
            RestoreTime = (uint)result.TotalMicroseconds,
            PagesRestored = (ulong)result.MemoryBytes / 4096,
        };
        var text = new StringBuilder("Displaying restore stats:\n");
        Pages(text, "Pages compared", stats.PagesCompared);
        Pages(text, "Pages skipped COW", stats.PagesSkippedCow);
        Pages(text, "Pages restored", stats.PagesRestored);
        text.Append($"Restore time: {stats.RestoreTime} us\n");
        text.Append($"Forking time: {stats.ForkingTime} us\n");
        return text.ToString();
    }

    private static void Pages(StringBuilder text, string name, ulong count) => text.Append($"{name}: {count} (0x{count:x})\n");

    // u32 service magic, u32 kind, u32 length, then the message.
    private static StatsEntry? TryRead(int directoryFd, string name)
    {
        if (SmallFile.TryRead(name, out byte[] bytes, directoryFd).Failed || bytes.Length < 12) return null;
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes) != ServiceMagic) return null;
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(4)) != StatsMagic) return null;
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(8));
        if (length > bytes.Length - 12) return null;
        try
        {
            return StatsEntry.Parser.ParseFrom(bytes, 12, (int)length);
        }
        catch (Google.Protobuf.InvalidProtocolBufferException)
        {
            return null;
        }
    }
}
