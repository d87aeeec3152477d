using CriuPmem.Kernel;

namespace CriuPmem.Cli.Options;

/// <summary>Arguments of <c>--external</c> and <c>--inherit-fd</c>: <c>type[id]:value</c>.</summary>
internal static class ExternalResource
{
    private static readonly string[] Built = ["file", "tty", "unix"];
    private static readonly string[] NotBuilt = ["mnt", "dev", "veth", "macvlan", "netdev", "net", "pid"];

    /// <summary>Checks an argument of <c>--external</c>.</summary>
    /// <exception cref="CheckpointException">It is of an unknown kind, or of one that is not built yet.</exception>
    public static void Check(string argument)
    {
        int open = argument.IndexOf('[', StringComparison.Ordinal);
        int close = argument.IndexOf(']', StringComparison.Ordinal);
        string kind = open > 0 ? argument[..open] : argument;
        if (NotBuilt.Contains(kind))
        {
            throw new CheckpointException(ErrorCode.OptionNotBuilt, $"external resources of the kind {kind} are not built in this version yet")
            {
                Object = "--external " + argument,
                Remedy = "The kinds it knows are file, tty and unix.",
            };
        }

        if (!Built.Contains(kind) || open < 0 || close < open + 2)
        {
            throw new CheckpointException(ErrorCode.Usage, "not an external resource")
            {
                Object = "--external " + argument,
                Remedy = "Write file[MNT_ID:INODE], tty[RDEV:DEV] or unix[INODE], in quotes because of the brackets.",
            };
        }
    }

    /// <summary>Takes an argument of <c>--inherit-fd</c>, <c>fd[N]:RESOURCE</c>, apart.</summary>
    /// <exception cref="CheckpointException">It is not of that form.</exception>
    public static (string Key, int Fd) ParseInherited(string argument)
    {
        int close = argument.IndexOf("]:", StringComparison.Ordinal);
        if (argument.StartsWith("fd[", StringComparison.Ordinal) && close > 3 && argument.Length > close + 2
            && Values.TryWhole(argument[3..close], out long fd) && fd <= int.MaxValue)
        {
            return (argument[(close + 2)..], (int)fd);
        }

        throw new CheckpointException(ErrorCode.Usage, "not an inherited descriptor")
        {
            Object = "--inherit-fd " + argument,
            Remedy = "Write fd[NUMBER]:RESOURCE, in quotes because of the brackets; for example 'fd[5]:pipe[1234]'.",
        };
    }
}
