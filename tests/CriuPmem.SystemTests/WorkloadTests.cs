namespace CriuPmem.SystemTests;

/// <summary>Every workload, dumped and restored in every direction, several rounds in a row.</summary>
public sealed class WorkloadTests
{
    public static IEnumerable<TheoryDataRow<string, string>> Matrix()
    {
        foreach (Workload workload in Workload.All)
        {
            foreach (Direction direction in Direction.Asked.Where(direction => direction.Applies(workload.Name)))
                yield return new(workload.Name, direction.Name) { TestDisplayName = $"{workload.Name} {direction.Name}" };
        }
    }

    [Theory]
    [MemberData(nameof(Matrix))]
    public void Workload_DumpedAndRestored_FindsItselfUnchanged(string workload, string direction) =>
        KnownGaps.Run(workload, direction, () =>
        {
            Workload named = Workload.Named(workload);
            using var live = new LiveWorkload(named);
            Rounds.Run(live, Direction.Named(direction), Machine.Quick ? 1 : named.Rounds);
        });
}
