using CriuPmem.Engine.Resources;
using CriuPmem.Images.Messages;

namespace CriuPmem.Engine.Restore;

/// <summary>Descriptors that the user gives to the restore in the place of saved files (--inherit-fd fd[N]:KEY).</summary>
/// <remarks>
/// Keys are what /proc/PID/fd showed ("pipe:[123]", "socket:[123]"), the keys of external files ("file[1e:4427c]",
/// "tty[8801:15]"), "/memfd:NAME", or paths with or without the slash at their beginning.
/// </remarks>
internal sealed class InheritedFiles
{
    private readonly RestoreContext _context;
    private readonly Dictionary<string, int> _given = [];
    private readonly HashSet<string> _used = [];

    /// <summary>Reads the options of a restore.</summary>
    public InheritedFiles(RestoreContext context)
    {
        _context = context;
        foreach ((string key, int fd) in context.Options.InheritFd) _given[Normalize(key)] = fd;
    }

    /// <summary>True when nothing is given.</summary>
    public bool IsEmpty => _given.Count == 0;

    /// <summary>A copy of what is given in the place of <paramref name="entry"/>; -1 for nothing.</summary>
    public int TryTake(FileKind kind, FileEntry entry)
    {
        if (IsEmpty) return -1;
        foreach (string key in kind.ExternalKeys(_context, entry))
        {
            string name = Normalize(key);
            if (!_given.TryGetValue(name, out int given)) continue;
            _used.Add(name);
            if (!kind.Accepts(_context, entry, Sys.Fcntl(given, F_GETFL).Value)) continue;
            return Copy(key, given);
        }

        return -1;
    }

    /// <summary>A copy of what is given under <paramref name="key"/>; -1 for nothing.</summary>
    public int TryTake(string key)
    {
        string name = Normalize(key);
        if (!_given.TryGetValue(name, out int given)) return -1;
        _used.Add(name);
        return Copy(key, given);
    }

    /// <summary>Tells of descriptors that take no file's place: most likely a key is wrong.</summary>
    public void WarnOfUnused()
    {
        foreach ((string key, int fd) in _context.Options.InheritFd)
        {
            // Words without brackets and slashes name namespaces.
            if (_used.Contains(Normalize(key)) || key.AsSpan().IndexOfAny('[', '/') < 0) continue;
            _context.Log.Warn("files", $"--inherit-fd fd[{fd}]:{key}: no open file of the images has that name");
        }
    }

    /// <summary>True when a descriptor with <paramref name="given"/> flags can do all that one with <paramref name="saved"/> flags could.</summary>
    public static bool Suffices(int given, uint saved) =>
        (given & O_ACCMODE) == O_RDWR || (saved & O_PATH) != 0 || (given & O_ACCMODE) == (saved & O_ACCMODE);

    /// <summary>One spelling for each key: pipe[1] is pipe:[1], paths start with a slash, hexadecimal letters are small.</summary>
    public static string Normalize(string key)
    {
        int open = key.IndexOf('[', StringComparison.Ordinal);
        string kind = open < 0 ? "" : key[..open];
        return kind switch
        {
            "pipe" or "socket" => $"{kind}:{key[open..]}",
            "pipe:" or "socket:" or "unix" => key,
            "file" or "tty" => key.ToLowerInvariant(),
            _ => key.StartsWith('/') ? key : "/" + key,
        };
    }

    private int Copy(string key, int given)
    {
        _context.Log.Info("files", $"{key} is given as descriptor {given}");
        return (int)Sys.Fcntl(given, F_DUPFD_CLOEXEC).OrThrow("fcntl(F_DUPFD)", key);
    }
}
