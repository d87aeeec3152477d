using System.Diagnostics;

namespace CriuPmem.SystemTests.Programs;

/// <summary>
/// A program that a person has started from a shell (--shell-job). The engine that restores it is typed into the same
/// shell, and stays in front of it as its parent.
/// </summary>
internal abstract class TerminalProgram : LiveTree
{
    private readonly string _shellHome;

    protected TerminalProgram(string name, string[] options) : base(name, options)
    {
        _shellHome = Home + ".shell";
        Terminal = new Terminal(_shellHome);
    }

    /// <summary>The terminal it runs on.</summary>
    protected Terminal Terminal { get; }

    /// <inheritdoc />
    public override void Dump(Engine engine, string images, params string[] more)
    {
        int before = Terminal.Mark;
        base.Dump(engine, images, more);
        if (!more.Contains("-R"))
            Terminal.Expect("READY> ", before); // the shell is in front again
    }

    /// <inheritdoc />
    public override void Restore(Engine engine, string images, params string[] more)
    {
        int before = Terminal.Mark;
        string log = Path.Combine(images, "restore.log");
        Terminal.Type($"{engine.Program} restore -D {images} -v4 -o {log} {string.Join(' ', Options.Concat(more))}; echo EXIT=$?\n");
        var clock = Stopwatch.StartNew();
        while (!Processes().Contains(Pid) || ProcessTable.Describe(Pid).Contains("TracerPid: 0", StringComparison.Ordinal) is false)
        {
            bool ended = Terminal.Since(before).Replace("echo EXIT=", "", StringComparison.Ordinal)
                .Contains("EXIT=", StringComparison.Ordinal);
            if (ended || clock.Elapsed > Engine.Limit)
                throw new EngineFailure($"{engine.Name} restore fails.\n{Terminal.Since(before)}\n{Engine.Tail(log)}");
            Thread.Sleep(5);
        }

        Thread.Sleep(300); // until the engine has nothing more to do with it
    }

    public override void Dispose()
    {
        base.Dispose();
        Terminal.Dispose();
    }

    /// <summary>Types a command that starts the program with our mark, and waits for its process.</summary>
    protected void Launch(string commandLine)
    {
        Terminal.Type($"env {ProcessTable.Mark}={Home} {commandLine}\n");
        Pid = WaitFor("its process", () => Processes() is [int only] ? only : (int?)null)!.Value;
    }

    protected override string State() => base.State() + "\n" + Terminal.Since(Math.Max(0, Terminal.Mark - 1500));
}
