using CriuPmem.Kernel;

namespace CriuPmem.Cli.Options;

/// <summary>Which configuration files are read, in the order of criu(8): later ones, and the command line, win.</summary>
internal sealed class ConfigFiles
{
    /// <summary>Where the machine's configuration lies.</summary>
    public string SystemPath { get; init; } = "/etc/criu/default.conf";

    /// <summary>The user's home directory, or null.</summary>
    public string? Home { get; init; } = Environment.GetEnvironmentVariable("HOME");

    /// <summary>The value of CRIU_CONFIG_FILE, or null.</summary>
    public string? FromEnvironment { get; init; } = Environment.GetEnvironmentVariable("CRIU_CONFIG_FILE");

    /// <summary>What was met and has no effect.</summary>
    public List<string> Warnings { get; } = [];

    /// <summary>All options that apply, those of the files before those of the command line.</summary>
    public List<Occurrence> Merge(Words commandLine)
    {
        var all = new List<Occurrence>();
        if (!commandLine.Has(OptionCatalog.NoDefaultConfig))
        {
            Add(all, SystemPath, mustExist: false);
            if (!string.IsNullOrEmpty(Home)) Add(all, Home + "/.criu/default.conf", mustExist: false);
            if (!string.IsNullOrEmpty(FromEnvironment)) Add(all, FromEnvironment, mustExist: true);
        }

        if (commandLine.Last(OptionCatalog.Config) is string path) Add(all, path, mustExist: true);
        all.AddRange(commandLine.Options);
        return all;
    }

    private void Add(List<Occurrence> all, string path, bool mustExist)
    {
        SysResult read = SmallFile.TryRead(path, out byte[] bytes);
        if (read.Errno is Errno.ENOENT or Errno.ENOTDIR && !mustExist) return;
        if (read.Errno == Errno.EACCES && !mustExist)
        {
            // Nothing was asked for: another user's home (sudo, setpriv) must not hide what is really wrong.
            Warnings.Add($"{path} cannot be read: {read.Errno.Describe()}; going on without it");
            return;
        }

        if (read.Failed)
        {
            throw new CheckpointException(ErrorCode.Usage, "this configuration file cannot be read")
            {
                Object = path,
                Errno = read.Errno,
                Remedy = "Make it readable, or use --no-default-config to go without it.",
            };
        }

        all.AddRange(ConfigFile.Parse(LinuxText.Decode(bytes), path, Warnings));
    }
}
