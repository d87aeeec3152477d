namespace CriuPmem.SystemTests;

/// <summary>
/// What is known not to work, each with its reason: not-yet.txt (we cannot do it yet) and peer-cannot.txt (the peer
/// never can). A test of the first kind is run, and reported as skipped when it fails; when it passes the run fails
/// until the line is removed. A test of the second kind is only skipped.
/// </summary>
internal static class KnownGaps
{
    // What xunit puts before the reason in the exception of Assert.Skip.
    private const string SkipToken = "$XunitDynamicSkip$";
    private static readonly Dictionary<(string, string), string> NotYet = Read("not-yet.txt");
    private static readonly Dictionary<(string, string), string> PeerCannot = Read("peer-cannot.txt");

    public static IEnumerable<(string Subject, string Direction)> Listed => NotYet.Keys.Concat(PeerCannot.Keys);

    /// <summary>Runs a test with the knowledge of the lists.</summary>
    /// <param name="subject">First word of a line.</param>
    /// <param name="direction">Second word of a line.</param>
    /// <param name="test">The test.</param>
    /// <param name="byChance">It may pass by luck while the gap is still there.</param>
    public static void Run(string subject, string direction, Action test, bool byChance = false)
    {
        string plain = Direction.All.FirstOrDefault(known => known.Name == direction)?.Plain ?? direction;
        if (PeerCannot.TryGetValue((subject, direction), out string? never) || PeerCannot.TryGetValue((subject, plain), out never))
            Assert.Skip($"the peer cannot: {never}");
        bool listed = NotYet.TryGetValue((subject, direction), out string? reason) || NotYet.TryGetValue((subject, plain), out reason);
        try
        {
            test();
        }
        catch (Exception failure) when (listed && !IsSkip(failure))
        {
            string firstLine = failure.Message.Split('\n', 2)[0];
            Assert.Skip($"not yet: {reason} ({firstLine})");
        }

        if (listed && !byChance)
            Assert.Fail($"\"{subject} {direction}\" passes: remove it from not-yet.txt.");
    }

    private static bool IsSkip(Exception failure) =>
        failure.Message.StartsWith(SkipToken, StringComparison.Ordinal);

    // Lines: subject, direction, reason. Empty lines and those that begin with # are comments.
    private static Dictionary<(string, string), string> Read(string file)
    {
        var gaps = new Dictionary<(string, string), string>();
        foreach (string line in File.ReadLines(Path.Combine(AppContext.BaseDirectory, file)))
        {
            if (line.Length == 0 || line[0] == '#')
                continue;
            string[] fields = line.Split(' ', 3, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            if (fields.Length != 3)
                throw new InvalidDataException($"{file}: a line needs subject, direction and reason: {line}");
            gaps.Add((fields[0], fields[1]), fields[2]);
        }

        return gaps;
    }
}
