namespace CriuPmem.SystemTests.Programs;

/// <summary>Programs that people use, under load, dumped, gone and restored ten times in a row with their data checked.</summary>
public sealed class ProgramTests
{
    public static IEnumerable<TheoryDataRow<string, string>> Matrix()
    {
        foreach (RealProgram program in RealProgram.All)
        {
            foreach (Direction direction in Direction.Asked.Where(direction => direction.Applies(program.Name)))
                yield return new(program.Name, direction.Name) { TestDisplayName = $"{program.Name} {direction.Name}" };
        }
    }

    [Theory]
    [MemberData(nameof(Matrix))]
    public void Program_UnderLoad_KeepsItsData(string program, string direction) =>
        KnownGaps.Run(program, direction, () =>
        {
            RealProgram named = RealProgram.Named(program);
            if (!IsInstalled(named.Needs))
                Assert.Skip($"not here: {named.Needs}");
            using LiveTree live = named.Start();
            Direction way = Direction.Named(direction);
            int rounds = way.Name is "ours" or "peer" ? RealProgram.OwnRounds : RealProgram.CrossRounds;
            Rounds.Run(live, way, Machine.Quick ? 1 : rounds);
        });

    private static bool IsInstalled(string program)
    {
        string path = (Environment.GetEnvironmentVariable("PATH") ?? "") + ":/usr/sbin:/usr/bin:/bin";
        return path.Split(':').Any(folder => File.Exists(Path.Combine(folder, program)));
    }
}
