using System.Buffers.Binary;
using CriuPmem.Images.Messages;

namespace CriuPmem.Bench;

/// <summary>stats-dump, which both engines write alike: service magic, kind, length, then the message.</summary>
internal static class StatsFile
{
    private const int HeaderBytes = 12;

    /// <summary>How long the tree stood still, as the engine itself measured it.</summary>
    public static double FrozenMilliseconds(string path) => Read(path).FrozenTime / 1000.0;

    /// <summary>How long the memory was copied.</summary>
    public static double CopyMilliseconds(string path) => Read(path).MemdumpTime / 1000.0;

    private static DumpStatsEntry Read(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        int length = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(HeaderBytes - sizeof(int)));
        return StatsEntry.Parser.ParseFrom(bytes, HeaderBytes, length).Dump;
    }
}
