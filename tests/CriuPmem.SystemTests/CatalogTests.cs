using CriuPmem.SystemTests.Failures;
using CriuPmem.SystemTests.Programs;

namespace CriuPmem.SystemTests;

/// <summary>The lists agree with each other and with the sources.</summary>
public sealed class CatalogTests
{
    [Fact]
    public void Workloads_EverySource_IsListed()
    {
        string[] sources = [.. Directory.GetFiles(Path.Combine(Machine.Top, "tests", "workloads"), "*.c")
            .Select(path => Path.GetFileNameWithoutExtension(path)).Order(StringComparer.Ordinal)];
        string[] listed = [.. Workload.All.Select(workload => workload.Program ?? workload.Name).Distinct()
            .Concat(Workload.Refused).Order(StringComparer.Ordinal)];
        Assert.Equal(sources, listed);
    }

    [Fact]
    public void KnownGaps_EveryLine_NamesATest()
    {
        var subjects = Workload.All.Select(workload => workload.Name)
            .Concat(RealProgram.All.Select(program => program.Name))
            .Concat(KillTests.Subjects).ToHashSet();
        var directions = Direction.All.Select(direction => direction.Name).ToHashSet();
        Assert.DoesNotContain(KnownGaps.Listed, gap => !subjects.Contains(gap.Subject));
        Assert.DoesNotContain(KnownGaps.Listed, gap => !directions.Contains(gap.Direction));
    }
}
