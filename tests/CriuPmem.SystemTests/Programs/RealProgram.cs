namespace CriuPmem.SystemTests.Programs;

/// <summary>A program that people use, and how it is started for a test.</summary>
/// <param name="Name">The test's name, which begins with prog_.</param>
/// <param name="Needs">The program that must be installed for it.</param>
/// <param name="Start">Starts it and waits until it is ready.</param>
internal sealed record RealProgram(string Name, string Needs, Func<LiveTree> Start)
{
    /// <summary>Rounds in a row for our own dumps and restores.</summary>
    public const int OwnRounds = 10;

    /// <summary>Rounds in a row across engines, where rounds cost the peer's time.</summary>
    public const int CrossRounds = 3;

    private static readonly string[] ShellJob = ["--shell-job"];
    private static readonly string[] FileLocks = ["--file-locks"];
    private static readonly string[] None = [];

    public static IReadOnlyList<RealProgram> All { get; } =
    [
        new("prog_bash", "bash", () => new BashProgram(ShellJob)),
        new("prog_dotnet", "dotnet", () => Checking("prog_dotnet", FileLocks, "dotnet", "exec", DotnetProgram)),
        new("prog_java", "java", () => Checking("prog_java", None, "java", "-Xmx128m", Source("Steady.java"))),
        new("prog_mariadb", "mariadbd", () => new MariaDbProgram()),
        new("prog_nginx", "nginx", () => new NginxProgram()),
        new("prog_node", "node", () => Checking("prog_node", None, "node", Source("steady.js"))),
        new("prog_python", "/usr/bin/python3", () => Checking("prog_python", None, "/usr/bin/python3", Source("steady.py"))),
        new("prog_redis", "redis-server", () => new RedisProgram()),
        new("prog_top", "top", () => new TopProgram(ShellJob)),
    ];

    public static RealProgram Named(string name) => All.Single(program => program.Name == name);

    // Built along with the tests, beside them: artifacts/obj/bin/PROJECT/CONFIGURATION.
    private static string DotnetProgram
    {
        get
        {
            string own = AppContext.BaseDirectory.TrimEnd('/');
            string configuration = Path.GetFileName(own);
            return Path.Combine(own, "../..", "CriuPmem.Steady", configuration, "CriuPmem.Steady.dll");
        }
    }

    private static string Source(string name) => Path.Combine(Machine.Top, "tests", "programs", name);

    private static LiveWorkload Checking(string name, string[] options, params string[] commandLine) =>
        new(name, options, commandLine);
}
