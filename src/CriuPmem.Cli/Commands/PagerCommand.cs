using System.Globalization;
using CriuPmem.Engine;

namespace CriuPmem.Cli.Commands;

/// <summary>The pager of a lazy restore: the program starts itself with this command, which is in no help and for nobody else.</summary>
internal static class PagerCommand
{
    private const string Name = "lazy-restore-pager";

    /// <summary>The arguments that start it, but for the descriptor of its plan. (Under "dotnet criu-pmem.dll" there is no pager.)</summary>
    public static IReadOnlyList<string> Words { get; } = ["criu-pmem", Name];

    /// <summary>Whether these are its arguments.</summary>
    public static bool TryParse(string[] arguments, out int planFd)
    {
        planFd = -1;
        return arguments.Length == 2 && arguments[0] == Name && int.TryParse(arguments[1], NumberStyles.None, CultureInfo.InvariantCulture, out planFd);
    }

    /// <summary>Serves; returns the exit code.</summary>
    public static int Run(int planFd) => PagerJob.Run(planFd);
}
