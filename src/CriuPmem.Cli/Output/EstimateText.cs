using System.Globalization;
using CriuPmem.Engine;

namespace CriuPmem.Cli.Output;

/// <summary>An estimate, for people and for programs.</summary>
internal static class EstimateText
{
    /// <summary>For people.</summary>
    public static string Plain(EstimateResult result, string directory) => string.Create(CultureInfo.InvariantCulture, $"""
        tree       {Wording.Count(result.Processes, "process", "processes")}, {Wording.Count(result.Threads, "thread", "threads")}, {Wording.Count(result.Mappings, "mapping", "mappings")}, {Wording.Count(result.Descriptors, "descriptor", "descriptors")}
        snapshot   {Wording.Size(result.SnapshotBytes)}, {Wording.Size(result.MemoryBytes)} of it memory; {Wording.Size(result.FreeBytes)} are free in {directory}
        dump       {Wording.Time(result.DumpMicroseconds)}, standing still for {Wording.Time(result.FrozenMicroseconds)}
        dump -R    {Wording.Time(result.DumpRunningMicroseconds)}, standing still for {Wording.Time(result.FrozenRunningMicroseconds)}
        restore    {Wording.Time(result.RestoreMicroseconds)}
        {NoRoom(result, directory)}
        """);

    private static string NoRoom(EstimateResult result, string directory) => result.FreeBytes >= result.SnapshotBytes ? ""
        : $"no room    it needs {Wording.Size(result.SnapshotBytes)}, and {Wording.Size(result.FreeBytes)} are free in {directory}: free some, choose another directory (-D), or try --compress\n";

    /// <summary>For programs: one JSON object; sizes in bytes, times in microseconds.</summary>
    public static string Json(EstimateResult result) => string.Create(CultureInfo.InvariantCulture, $$"""
        {"processes":{{result.Processes}},"threads":{{result.Threads}},"mappings":{{result.Mappings}},"descriptors":{{result.Descriptors}},"memory_bytes":{{result.MemoryBytes}},"snapshot_bytes":{{result.SnapshotBytes}},"free_bytes":{{result.FreeBytes}},"dump_us":{{result.DumpMicroseconds}},"dump_running_us":{{result.DumpRunningMicroseconds}},"frozen_us":{{result.FrozenMicroseconds}},"frozen_running_us":{{result.FrozenRunningMicroseconds}},"restore_us":{{result.RestoreMicroseconds}},"bytes_per_second":{{result.BytesPerSecond}}}

        """);
}
