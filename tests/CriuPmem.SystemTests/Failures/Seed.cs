using System.Globalization;

namespace CriuPmem.SystemTests.Failures;

/// <summary>Chance that can be repeated: CRIU_TEST_SEED=N; the seed is in the message of a failure.</summary>
internal static class Seed
{
    public static int Value { get; } = Environment.GetEnvironmentVariable("CRIU_TEST_SEED") is { Length: > 0 } given
        ? int.Parse(given, CultureInfo.InvariantCulture)
        : Environment.TickCount & 0xFFFFFF;

    /// <summary>Runs a test with chance, and tells the seed when it fails.</summary>
    public static void Run(Action<Random> test)
    {
        try
        {
            test(new Random(Value));
        }
        catch (Exception failure) when (!failure.Message.Contains("XunitDynamicSkip", StringComparison.Ordinal))
        {
            throw new InvalidOperationException($"CRIU_TEST_SEED={Value}: {failure.Message}", failure);
        }
    }
}
