using System.Text.RegularExpressions;
using CriuPmem.Kernel;

namespace CriuPmem.Tests.Kernel;

public sealed partial class EngineLogTests
{
    [Fact]
    public void Error_Line_HasTheShapeThatEnginesSearchFor()
    {
        string line = Assert.Single(Written(EngineLog.LevelError, log => log.Error("dump", "it failed")));
        Assert.Matches(@"^\(\d\d\.\d{6}\) Error \(dump\): it failed$", line);
    }

    [Fact]
    public void Warn_Line_HasTheKindPaddedToFive()
    {
        string line = Assert.Single(Written(EngineLog.LevelWarn, log => log.Warn("files", $"odd {1}")));
        Assert.Matches(@"^\(\d\d\.\d{6}\) Warn  \(files\): odd 1$", line);
    }

    [Fact]
    public void Info_Line_HasNoKind()
    {
        string line = Assert.Single(Written(EngineLog.LevelInfo, log => log.Info("mem", $"{10} pages")));
        Assert.Matches(@"^\(\d\d\.\d{6}\) mem: 10 pages$", line);
    }

    [Fact]
    public void Debug_LevelBelow_WritesAndFormatsNothing()
    {
        bool formatted = false;
        string Value()
        {
            formatted = true;
            return "";
        }

        Assert.Empty(Written(EngineLog.LevelInfo, log => log.Debug("mem", $"{Value()}")));
        Assert.False(formatted);
    }

    [Fact]
    public void FirstError_TwoErrors_IsTheFirst()
    {
        var log = new EngineLog(-1, EngineLog.LevelError);
        log.Error("a", "first");
        log.Error("b", "second");
        Assert.Equal("first", log.FirstError);
    }

    [Fact]
    public void Write_SecondsAfterStart_GrowMonotonically()
    {
        string[] lines = Written(EngineLog.LevelInfo, log =>
        {
            for (int i = 0; i < 100; i++) log.Info("t", $"{i}");
        });
        string[] stamps = [.. lines.Select(line => Stamp().Match(line).Groups[1].Value)];
        Assert.Equal(stamps.Order(StringComparer.Ordinal), stamps);
    }

    private static string[] Written(int level, Action<EngineLog> write)
    {
        string path = Path.GetTempFileName();
        try
        {
            int fd = ImageFileCalls.OpenToWrite(-100, path, truncate: true, readable: false).Value;
            write(new EngineLog(fd, level));
            ImageFileCalls.Close(fd);
            return File.ReadAllLines(path);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [GeneratedRegex(@"^\((\d+\.\d{6})\)")]
    private static partial Regex Stamp();
}
