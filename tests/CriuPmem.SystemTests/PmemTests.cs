using System.Text.Json;
using CriuPmem.SystemTests.Failures;

namespace CriuPmem.SystemTests;

/// <summary>criu-pmem pmem tells what a directory offers; test-rig.sh has it look at persistent memory.</summary>
public sealed class PmemTests : IDisposable
{
    private readonly DirectoryInfo _home = Directory.CreateTempSubdirectory("criu-pmem-tests.pmem.");

    public void Dispose() => _home.Delete(recursive: true);

    [Fact]
    public void Tmpfs_IsMemory_AndNoDevice()
    {
        using var mount = new TestMount(_home.FullName, "size=200m");
        Command told = EngineRun.Run("pmem", mount.Path, "--json");
        Assert.True(told.ExitCode == 0, told.Output);
        using JsonDocument answer = JsonDocument.Parse(told.Output);
        JsonElement root = answer.RootElement;
        Assert.Equal("tmpfs", root.GetProperty("kind").GetString());
        Assert.Equal("tmpfs", root.GetProperty("file_system").GetString());
        Assert.Equal(mount.Path, root.GetProperty("mount_point").GetString());
        Assert.False(root.GetProperty("map_sync").GetBoolean());
        Assert.False(root.TryGetProperty("device", out _));
        foreach (string speed in (string[])["write_bytes_per_second", "durable_bytes_per_second", "read_bytes_per_second"])
            Assert.InRange(root.GetProperty(speed).GetInt64(), 1 << 20, 1L << 40);
        Assert.Empty(Directory.GetFileSystemEntries(mount.Path));
    }

    [Fact]
    public void ForPeople_SaysTheSame()
    {
        using var mount = new TestMount(_home.FullName, "size=200m");
        foreach (string[] way in (string[][])[["pmem", mount.Path], ["pmem", "-D", mount.Path]])
        {
            Command told = EngineRun.Run(way);
            Assert.True(told.ExitCode == 0, told.Output);
            foreach (string line in (string[])[$"path       {mount.Path}", $"files      tmpfs, mounted at {mount.Path}", "DAX        no, but memory", "speed ", "dump       a tmpfs", "advice     a tmpfs stands in"])
                Assert.Contains(line, told.Output, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void WhatCannotBeLookedAt_IsRefused()
    {
        EngineRun.Refuses(["pmem", "/no/such/directory"], "CP1300", "/no/such/directory");
        EngineRun.Refuses(["pmem", _home.FullName, "another"], "CP1006", "one directory", "another");
    }

    [Fact]
    public void WhatCannotBeWritten_IsToldWithoutSpeed()
    {
        using var mount = new TestMount(_home.FullName, "size=200m,ro");
        Command told = EngineRun.Run("pmem", mount.Path);
        Assert.True(told.ExitCode == 0, told.Output);
        Assert.Contains("speed      not measured", told.Output, StringComparison.Ordinal);
        Assert.Contains("advice     choose a directory that can be written to", told.Output, StringComparison.Ordinal);
        told = EngineRun.Run("pmem", mount.Path, "--json");
        using JsonDocument answer = JsonDocument.Parse(told.Output);
        Assert.Equal(JsonValueKind.Null, answer.RootElement.GetProperty("write_bytes_per_second").ValueKind);
        Assert.Equal(JsonValueKind.Null, answer.RootElement.GetProperty("map_sync").ValueKind);
    }
}
