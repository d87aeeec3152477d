using System.Globalization;
using System.Text;
using System.Text.Json;
using CriuPmem.Engine;
using CriuPmem.Engine.Check;

namespace CriuPmem.Cli.Output;

/// <summary>What a directory offers, for people and for programs.</summary>
internal static class PmemText
{
    /// <summary>For people.</summary>
    public static string Plain(PmemReport report, string directory)
    {
        var text = new StringBuilder();
        Line(text, "path", directory);
        Line(text, "files", $"{report.FileSystem}, mounted at {report.MountPoint} ({report.MountOptions})");
        Line(text, "DAX", report.Kind switch
        {
            PersistentMemoryKind.Dax => "yes: files are mapped straight from persistent memory" + (report.HasMapSync == true ? ", and MAP_SYNC works" : ", but MAP_SYNC does not work"),
            PersistentMemoryKind.Tmpfs => "no, but memory all the same",
            _ => "no",
        });
        if (report.Device is { } device) AddDevice(text, device, 0);
        Line(text, "speed", report.WriteRate is null ? "not measured: the directory cannot be written to"
            : $"{Rate(report.WriteRate)} written, {Rate(report.DurableRate)} until it is durable, {Rate(report.ReadRate)} read back");
        Line(text, "dump", report.Dump);
        if (report.Advice is { } advice) Line(text, "advice", advice);
        return text.ToString();
    }

    /// <summary>For programs: one JSON object; sizes in bytes, speeds in bytes per second.</summary>
    public static string Json(PmemReport report, string directory)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("path", directory);
            json.WriteString("file_system", report.FileSystem);
            json.WriteString("mount_point", report.MountPoint);
            json.WriteString("mount_options", report.MountOptions);
            json.WriteString("kind", report.Kind switch { PersistentMemoryKind.Dax => "dax", PersistentMemoryKind.Tmpfs => "tmpfs", _ => "none" });
            if (report.HasMapSync is { } sync) json.WriteBoolean("map_sync", sync);
            else json.WriteNull("map_sync");
            if (report.Device is { } device)
            {
                json.WritePropertyName("device");
                Write(json, device);
            }

            Write(json, "write_bytes_per_second", report.WriteRate);
            Write(json, "durable_bytes_per_second", report.DurableRate);
            Write(json, "read_bytes_per_second", report.ReadRate);
            json.WriteString("dump", report.Dump);
            if (report.Advice is not null) json.WriteString("advice", report.Advice);
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray()) + "\n";
    }

    private static void Write(Utf8JsonWriter json, string name, long? number)
    {
        if (number is { } known) json.WriteNumber(name, known);
        else json.WriteNull(name);
    }

    private static void Line(StringBuilder text, string name, string value) => text.Append(CultureInfo.InvariantCulture, $"{name,-10} {value}\n");

    private static void AddDevice(StringBuilder text, BlockDevice device, int level)
    {
        string what = device.Name + (device.MappedName is null ? "" : $" ({device.MappedName})") + $", {Wording.Size(device.SizeBytes)}";
        if (device.Namespace is not null) what += $", persistent memory {device.Namespace} used as {device.Mode}";
        what += device.PersistenceDomain switch
        {
            "cpu_cache" => ", durable with what is in the CPU's caches (eADR)",
            "memory_controller" => ", durable with what was flushed from the CPU's caches (ADR)",
            _ => "",
        };
        if (device.Namespace is not null) what += device.BadRanges == 0 ? ", no damage known" : $", {Wording.Count(device.BadRanges, "damaged range", "damaged ranges")}";
        if (device.MadeOf.Count > 0) what += ", made of";
        Line(text, level == 0 ? "device" : "", new string(' ', 2 * level) + what);
        foreach (BlockDevice part in device.MadeOf) AddDevice(text, part, level + 1);
    }

    private static void Write(Utf8JsonWriter json, BlockDevice device)
    {
        json.WriteStartObject();
        json.WriteString("name", device.Name);
        if (device.MappedName is not null) json.WriteString("mapped_name", device.MappedName);
        json.WriteNumber("size_bytes", device.SizeBytes);
        json.WriteBoolean("dax", device.HasDax);
        if (device.Namespace is not null)
        {
            json.WriteString("namespace", device.Namespace);
            json.WriteString("mode", device.Mode);
            json.WriteString("persistence_domain", device.PersistenceDomain);
            json.WriteNumber("bad_ranges", device.BadRanges);
        }

        json.WriteStartArray("made_of");
        foreach (BlockDevice part in device.MadeOf) Write(json, part);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static string Rate(long? bytesPerSecond) => $"{Wording.Size(bytesPerSecond ?? 0)}/s";
}
